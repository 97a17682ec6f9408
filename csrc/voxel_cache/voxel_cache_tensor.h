// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>

#include "torch/tensor.h"
#include "voxel_cache/voxel_cache.h"

namespace mirage {

inline Element element_of(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float: return Element::kFloat;
    case ScalarType::BFloat16: return Element::kBFloat16;
    case ScalarType::Half: return Element::kFloat16;
    case ScalarType::Char: return Element::kInt8;
    default: guard(false, "voxel_cache: features must be float32, bfloat16, float16 or int8");
  }
  return Element::kFloat;
}

inline int64_t size_of(Element element) {
  return element == Element::kFloat ? 4 : element == Element::kInt8 ? 1 : 2;
}

// State is read and written in place, so a copy would not do.
inline void expect_state(const Tensor& t, ScalarType dtype, std::initializer_list<int64_t> shape, const char* what) {
  guard(t.is_contiguous(), "voxel_cache: state must be contiguous");
  expect(t, dtype, shape, what);
}

// What a plan is made from, guarded and kept alive.
struct PlanOperands {
  Tensor xyz, keys, footprint_rows, table;
  OptionalTensor valid, footprint;
  int64_t n;
  CachePoints points;
  HeldRows held;
  Fusion fusion;

  PlanOperands(const Tensor& xyz_, const OptionalTensor& valid_, const OptionalTensor& footprint_, const Tensor& keys_,
               const Tensor& footprint_rows_, const Tensor& table_, int64_t rows, double inverse_size,
               double default_footprint, int64_t fusion_)
      : n(xyz_.size(0)), fusion(static_cast<Fusion>(fusion_)) {
    guard(n < INT32_MAX, "voxel_cache_insert: too many points");
    guard(fusion_ >= 0 && fusion_ <= 2, "voxel_cache_insert: unknown fusion");
    xyz = expect(xyz_, ScalarType::Float, {n, 3}, "voxel_cache_insert: xyz must be float32 (N, 3)");
    valid = expect(valid_, ScalarType::Bool, {n}, "voxel_cache_insert: valid must be bool (N,)");
    footprint = expect(footprint_, ScalarType::Float, {n}, "voxel_cache_insert: footprint must be (N,)");
    keys = expect(keys_, ScalarType::Long, {-1}, "voxel_cache_insert: keys must be int64 (R,)");
    footprint_rows = expect(footprint_rows_, ScalarType::Float, {-1}, "voxel_cache_insert: bad footprint_rows");
    table = expect(table_, ScalarType::Int, {-1}, "voxel_cache_insert: table must be int32 (T,)");
    guard(rows >= 0 && rows <= keys.numel() && rows <= footprint_rows.numel(),
          "voxel_cache_insert: rows must be within capacity");
    const uint64_t slots = static_cast<uint64_t>(table.numel());
    guard(slots >= 64 && std::has_single_bit(slots), "voxel_cache_insert: bad size of table");
    points = {data<float>(xyz), data<uint8_t>(valid), data<float>(footprint), static_cast<float>(default_footprint),
              static_cast<float>(inverse_size)};
    held = {data<int64_t>(keys), data<float>(footprint_rows), data<int32_t>(table), slots, rows};
  }
};

}  // namespace mirage
