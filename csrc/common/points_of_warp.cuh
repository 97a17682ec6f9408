// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device.h"
#include "frustum.h"

// Points in the lanes of a warp.
namespace mirage {
namespace {

constexpr int kPerLane = kFanout / kWarp;  // where a warp holds a leaf of points

// Maps floats to integers of the same order, for the warp's integer minimum and maximum.
__device__ __forceinline__ int ordered(float x) {
  const int bits = static_cast<int>(float_bits(x));
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

__device__ __forceinline__ float unordered(int x) {
  return bits_float(static_cast<uint32_t>(x ^ ((x >> 31) & 0x7fffffff)));
}

// The box of the points that the lanes of a warp hold. NaN counts for nothing.
template <int kEach>
__device__ __forceinline__ Box box_of_warp(const float (&points)[3][kEach]) {
  const float infinity = bits_float(0x7f800000u);
  Box box;
  for (int axis = 0; axis < 3; ++axis) {
    float lowest = infinity, highest = -infinity;
    for (int k = 0; k < kEach; ++k) {
      const float at = points[axis][k];
      lowest = at < lowest ? at : lowest;
      highest = at > highest ? at : highest;
    }
    box.min[axis] = unordered(__reduce_min_sync(kAllLanes, ordered(lowest)));
    box.max[axis] = unordered(__reduce_max_sync(kAllLanes, ordered(highest)));
  }
  return box;
}

}  // namespace
}  // namespace mirage
