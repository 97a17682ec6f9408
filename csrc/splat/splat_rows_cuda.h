// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_rows.cuh"
#include "torch/cuda.h"

namespace mirage {
namespace {

// maps (V, C, h, w) as rows (V h w, C) of the same dtype.
inline Tensor rows_of(const Tensor& maps, cudaStream_t stream) {
  const int64_t v = maps.size(0), c = maps.size(1), cells = maps.size(2) * maps.size(3);
  const Tensor rows = empty_like(maps, {v * cells, c}, maps.scalar_type());
  const auto run = [&](auto word) {
    using Word = decltype(word);
    const Features f = plan_tiles<Word>(c, data<Word>(maps), cells, data<Word>(rows), v * cells * c);
    launch(maps_to_rows<Word>, blocks_of(v * ceil_div(cells, kTileCells), 1), kTileThreads, bytes_of_tile<Word>(f),
           stream, f, cells, data<Word>(maps), mutable_data<Word>(rows));
  };
  if (maps.element_size() == 2)
    run(uint16_t{});
  else
    run(uint32_t{});
  return rows;
}

// Calls run with a value of the C++ type that stands for a dtype of features.
template <class Run>
void with_type(ScalarType dtype, const char* otherwise, const Run& run) {
  switch (dtype) {
    case ScalarType::Float: run(float{}); break;
    case ScalarType::BFloat16: run(BFloat16{}); break;
    case ScalarType::Half: run(Float16{}); break;
    default: guard(false, otherwise);
  }
}

}  // namespace
}  // namespace mirage
