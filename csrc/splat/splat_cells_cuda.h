// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_cells.cuh"
#include "torch/cub.h"

namespace mirage {
namespace {

// The cells of index (V, h, w), or the entries of index (V, k, h, w), sorted by their points.
struct SortedCells {
  Tensor words;  // (4, n)
  CellsOfPoints list;

  SortedCells(const Tensor& index, int64_t num_points, cudaStream_t stream) {
    const int64_t n = index.numel();
    guard(n <= UINT32_MAX, "splat: more than 2^32 - 1 cells");
    guard(num_points <= UINT32_MAX, "splat: num_points must be less than 2^32");
    words = new_empty(index, {4, n}, ScalarType::Int);
    uint32_t* at = mutable_data<uint32_t>(words);
    const KeyedValues<uint32_t> pairs{at, at + n}, spare{at + 2 * n, at + 3 * n};
    launch(splat_list_cells_kernel, blocks_of(n, kListThreads), kListThreads, 0, stream, data<int64_t>(index), n,
           num_points, pairs.keys, pairs.values);
    const auto sorted = sort_pairs(index, pairs, spare, n, bits_of(num_points), stream);
    list = {sorted.keys, sorted.values, n, num_points};
  }
};

}  // namespace
}  // namespace mirage
