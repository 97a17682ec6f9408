// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "torch/cub.h"

#include <cub/device/device_radix_sort.cuh>

namespace mirage {
namespace {

// CUB returns the size of its workspace when it is called without one.
template <class Run>
void with_workspace(const Tensor& like, const Run& run) {
  size_t bytes = 0;
  check_cuda(run(nullptr, bytes));
  const Tensor space = new_empty(like, {static_cast<int64_t>(bytes)}, ScalarType::Byte);
  check_cuda(run(space.mutable_data_ptr(), bytes));
}

}  // namespace

template <class Key>
KeyedValues<Key> sort_pairs(const Tensor& like, KeyedValues<Key> pairs, KeyedValues<Key> spare, int64_t n, int bits,
                            cudaStream_t stream) {
  guard(n <= UINT32_MAX, "too many elements to sort in one call");
  cub::DoubleBuffer<Key> keys(pairs.keys, spare.keys);
  cub::DoubleBuffer<uint32_t> values(pairs.values, spare.values);
  with_workspace(like, [&](void* space, size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(space, bytes, keys, values, static_cast<uint32_t>(n), 0, bits, stream);
  });
  return {keys.Current(), values.Current()};
}

template KeyedValues<uint32_t> sort_pairs(const Tensor&, KeyedValues<uint32_t>, KeyedValues<uint32_t>, int64_t, int,
                                          cudaStream_t);
template KeyedValues<Word64> sort_pairs(const Tensor&, KeyedValues<Word64>, KeyedValues<Word64>, int64_t, int,
                                        cudaStream_t);

}  // namespace mirage
