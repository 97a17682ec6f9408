// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

// Replaces CUB's header of this name: a stable sort on the host. The buffer that does not hold the result is overwritten.
namespace cub {

template <class T>
struct DoubleBuffer {
  T *current, *spare;

  DoubleBuffer(T* current_, T* spare_) : current(current_), spare(spare_) {}
  T* Current() const { return current; }
};

struct DeviceRadixSort {
  // Without a workspace it only says how large one must be.
  template <class Key>
  static cudaError_t SortPairs(void* workspace, size_t& bytes, DoubleBuffer<Key>& keys, DoubleBuffer<uint32_t>& values,
                               uint32_t n, int, int end_bit, cudaStream_t) {
    bytes = 1;
    if (!workspace) return cudaSuccess;
    ++::emulation::operations.sorts;
    const Key mask = ~Key{0} >> (8 * static_cast<int>(sizeof(Key)) - end_bit);
    std::vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return (keys.current[a] & mask) < (keys.current[b] & mask); });
    for (int64_t i = 0; i < n; ++i) {
      keys.spare[i] = keys.current[order[i]];
      values.spare[i] = values.current[order[i]];
    }
    std::fill_n(values.current, n, ~uint32_t{0});
    std::swap(keys.current, keys.spare);
    std::swap(values.current, values.spare);
    return cudaSuccess;
  }
};

}  // namespace cub
