// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostdev.h"

// What kernels (<op>_kernels.cuh) need beyond hostdev.h. They see CUDA and no torch. The tests also compile them for a
// CPU, with MIRAGE_EMULATE and a header that stands in for CUDA; therefore blocks are whole warps, every thread of a
// block meets every barrier, and shared memory without a size of its own is declared through the macro below.
#if defined(MIRAGE_EMULATE)
#define MIRAGE_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::emulation::dynamic_shared())
#else
#define MIRAGE_DYNAMIC_SHARED(T, name)                               \
  extern __shared__ __align__(16) unsigned char name##_of_launch[]; \
  T* const name = reinterpret_cast<T*>(name##_of_launch)
#endif

namespace mirage {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct Fill {
  void* at;  // on a multiple of sixteen bytes
  int64_t bytes;
  uint8_t value;
};

using Word64 = unsigned long long;  // what 64-bit atomics take; uint64_t is another type of the same size

}  // namespace mirage
