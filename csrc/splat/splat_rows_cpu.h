// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <type_traits>

#include "splat/splat_cpu.h"
#include "torch/dtypes.h"
#include "torch/parallel.h"

// Features and their gradients as rows of float32. V views, C channels.
namespace mirage {
namespace {

// Where a table of functions by dtype has a dtype.
[[maybe_unused]] int dtype_number(ScalarType dtype) {
  int number = 0;
  with_type(dtype, [&](auto type) {
    if (std::is_same_v<decltype(type), BFloat16>) number = 1;
    if (std::is_same_v<decltype(type), Float16>) number = 2;
  });
  return number;
}

// maps (V, C, cells) -> float rows (V, cells, C)
template <class T>
void to_rows(const T* maps, int64_t views, int64_t channels, int64_t cells, float* rows) {
  const int64_t groups = (cells + kGroup - 1) / kGroup;
  parallel_for(0, views * groups, 16, [&](int64_t task, int64_t end) {
    for (; task < end; ++task) {
      const int64_t v = task / groups, first = task % groups * kGroup, last = std::min(cells, first + kGroup);
      for (int64_t k = first; k < last; ++k)
        for (int64_t c = 0; c < channels; ++c)
          rows[(v * cells + k) * channels + c] = to_float(maps[(v * channels + c) * cells + k]);
    }
  });
}

[[maybe_unused]] std::unique_ptr<float[]> rows_of(const Tensor& maps) {
  const int64_t v = maps.size(0), c = maps.size(1), cells = maps.size(2) * maps.size(3);
  auto rows = std::make_unique_for_overwrite<float[]>(v * c * cells);
  with_type(maps.scalar_type(), [&](auto type) { to_rows(data<decltype(type)>(maps), v, c, cells, rows.get()); });
  return rows;
}

// Sums in float32 that are then rounded to the dtype of `out`.
struct RoundedSums {
  const Tensor& out;
  std::unique_ptr<float[]> scratch;
  float* first;  // as many as elements of out; 0 at the beginning

  explicit RoundedSums(const Tensor& out_) : out(out_), first(nullptr) {
    if (out.scalar_type() == ScalarType::Float) {
      first = mutable_data<float>(out);
    } else {
      scratch = std::make_unique_for_overwrite<float[]>(out.numel());
      first = scratch.get();
    }
    std::fill_n(first, out.numel(), 0.0f);
  }
  void round() const {
    if (first != scratch.get()) return;
    with_type(out.scalar_type(), [&](auto type) {
      auto* to = mutable_data<decltype(type)>(out);
      parallel_for(0, out.numel(), 65536, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) from_float(first[i], to + i);
      });
    });
  }
};

}  // namespace
}  // namespace mirage
