// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda.h"

// Sorts of whole arrays on a device, by CUB, which is in cub.cu alone: it takes long to compile. Nothing waits for a
// device; workspaces come from torch, on the device of the tensor `like`, whose OnDevice must be alive.
namespace mirage {

template <class Key>
struct KeyedValues {  // (n,) each
  Key* keys;
  uint32_t* values;
};

// Sorts n < 2^32 pairs by the low `bits` of their keys; equal keys keep their order. The result lies in one of the two
// arrays, the one returned; the contents of the other are then undefined.
template <class Key>  // uint32_t or Word64
KeyedValues<Key> sort_pairs(const Tensor& like, KeyedValues<Key> pairs, KeyedValues<Key> spare, int64_t n, int bits,
                            cudaStream_t stream);

// How many low bits numbers up to `largest` have.
inline int bits_of(uint64_t largest) {
  int bits = 1;
  while (largest >> bits && bits < 64) ++bits;
  return bits;
}

}  // namespace mirage
