// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

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

}  // namespace mirage
