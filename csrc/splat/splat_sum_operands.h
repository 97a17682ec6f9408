// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_sum.h"
#include "torch/dtypes.h"

// splat_sum, on any device.
namespace mirage {

// Checked inputs, and the output.
struct SumOperands {
  Tensor uv, features;  // (2, N), (C, N)
  OptionalTensor weights;
  Tensor out;  // (C + 1, h, w)
  PlacedPoints points;

  SumOperands(const Tensor& uv_, const Tensor& features_, const OptionalTensor& weights_, int64_t h, int64_t w,
              double center)
      : uv(expect(uv_, ScalarType::Float, {2, -1}, "splat_sum: uv must be float32 (2, N)")),
        features(expect(features_, ScalarType::Float, {-1, uv.size(1)}, "splat_sum: features must be float32 (C, N)")),
        weights(expect(weights_, ScalarType::Float, {uv.size(1)}, "splat_sum: weights must be float32 (N,)")),
        out(new_empty(uv, {features.size(0) + 1, checked(h, w), w}, ScalarType::Float)) {
    // Of the four taps of a point, each has a number of 32 bits.
    guard(uv.size(1) < (int64_t{1} << 30), "splat_sum: more than 2^30 - 1 points");
    points = {data<float>(uv),  data<float>(features), data<float>(weights), uv.size(1),
              features.size(0), static_cast<int>(h),   static_cast<int>(w),  static_cast<float>(center)};
  }

  int64_t cells() const { return static_cast<int64_t>(points.h) * points.w; }

 private:
  static int64_t checked(int64_t h, int64_t w) {
    guard(h > 0 && w > 0 && h <= INT32_MAX / w, "splat_sum: bad grid size");
    return h;
  }
};

template <class Device>
Tensor splat_sum(const Tensor& uv, const Tensor& features, OptionalTensor weights, int64_t h, int64_t w,
                 double center) {
  Device::guard_device(uv, {&features, pointer_to(weights)});
  const SumOperands in(uv, features, weights, h, w, center);
  Device::splat_sum(in);
  return in.out;
}

template <class Device, class Library>
void register_splat_sum(Library& m) {
  m.impl("splat_sum", MIRAGE_BOX(&splat_sum<Device>));
  m.impl("splat_sum.inference", MIRAGE_BOX(&splat_sum<Device>));
}

}  // namespace mirage
