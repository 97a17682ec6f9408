// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_frontmost.h"
#include "torch/views.h"

// frontmost, on any device.
namespace mirage {

// Checked inputs, and the output.
struct FrontmostOperands {
  Tensor xyz;
  CameraTensors cameras;
  OptionalTensor valid;
  Tensor out;  // (V, N) bool
  FrontmostJob job;

  FrontmostOperands(const Tensor& xyz_, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w,
                    const OptionalTensor& valid_, double near, double far, double tolerance, bool cut_off)
      : xyz(expect(xyz_, ScalarType::Float, {-1, 3}, "splat_frontmost: xyz must be float32 (N, 3)")),
        cameras(intrinsics, world2cam, h, w),
        valid(expect(valid_, ScalarType::Bool, {xyz.size(0)}, "splat_frontmost: valid must be bool (N,)")),
        out(new_empty(xyz, {cameras.count, xyz.size(0)}, ScalarType::Bool)) {
    guard(xyz.size(0) < UINT32_MAX, "splat_frontmost: more than 2^32 - 2 points");
    guard(near >= kNear, "splat_frontmost: near must be at least 1e-6");
    job = {data<float>(xyz),
           data<uint8_t>(valid),
           data<float>(cameras.world2cam),
           data<float>(cameras.intrinsics),
           xyz.size(0),
           cameras.count,
           cameras.h,
           cameras.w,
           static_cast<float>(near),
           far > 3.4028234663852886e38 ? bits_float(0x7f800000u) : static_cast<float>(far),
           static_cast<float>(tolerance),
           cut_off ? -1.0f : 0.0f,
           mutable_data<uint8_t>(out)};
  }
};

template <class Device>
Tensor splat_frontmost(const Tensor& xyz, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w,
                       OptionalTensor valid, double near, double far, double tolerance, bool cut_off) {
  Device::guard_device(xyz, {&intrinsics, &world2cam, pointer_to(valid)});
  const FrontmostOperands in(xyz, intrinsics, world2cam, h, w, valid, near, far, tolerance, cut_off);
  if (in.out.numel() > 0) Device::frontmost(in);
  return in.out;
}

template <class Device, class Library>
void register_frontmost(Library& m) {
  m.impl("splat_frontmost", MIRAGE_BOX(&splat_frontmost<Device>));
}

}  // namespace mirage
