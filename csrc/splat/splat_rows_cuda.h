// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_rows.cuh"
#include "torch/cuda.h"
#include "torch/dtypes.h"

namespace mirage {
namespace {

// maps (V, C, h, w) as rows (V h w, C) of the same dtype.
inline Tensor rows_of(const Tensor& maps, cudaStream_t stream) {
  const int64_t v = maps.size(0), c = maps.size(1), cells = maps.size(2) * maps.size(3);
  const Tensor rows = new_empty(maps, {v * cells, c}, maps.scalar_type());
  with_word(maps.scalar_type(), [&](auto word) {
    using Word = decltype(word);
    const Features f = plan_tiles<Word>(c, data<Word>(maps), cells, data<Word>(rows), cells * c);
    launch(splat_transpose_kernel<Word>, blocks_of(v * ceil_div(cells, kTileCells), 1), kTileThreads,
           bytes_of_tile<Word>(f), stream, f, cells, data<Word>(maps), mutable_data<Word>(rows));
  });
  return rows;
}

}  // namespace
}  // namespace mirage
