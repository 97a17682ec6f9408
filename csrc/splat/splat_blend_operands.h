// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_blend.h"
#include "torch/dtypes.h"
#include "torch/views.h"

// splat_offsets and splat_blend, on any device. N points, V views, C channels, grid (h, w).
namespace mirage {

// Checked inputs, and the output.
struct OffsetsOperands {
  Tensor xyz, index;
  CameraTensors cameras;
  Tensor out;
  OffsetsJob job;

  OffsetsOperands(const Tensor& xyz_, const Tensor& index_, const Tensor& intrinsics, const Tensor& world2cam)
      : xyz(expect(xyz_, ScalarType::Float, {-1, 3}, "splat_offsets: xyz must be float32 (N, 3)")),
        index(expect(index_, ScalarType::Long, {world2cam.size(0), -1, -1},
                     "splat_offsets: index must be int64 (V, h, w)")),
        cameras(intrinsics, world2cam, index.size(1), index.size(2)),
        out(new_empty(xyz, {cameras.count, 2, cameras.h, cameras.w}, ScalarType::Float)),
        job{data<float>(xyz),
            xyz.size(0),
            data<float>(cameras.world2cam),
            data<float>(cameras.intrinsics),
            data<int64_t>(index),
            cameras.count,
            cameras.h,
            cameras.w,
            mutable_data<float>(out)} {}
};

template <class Device>
Tensor splat_offsets(const Tensor& xyz, const Tensor& index, const Tensor& intrinsics, const Tensor& world2cam) {
  Device::guard_device(xyz, {&index, &intrinsics, &world2cam});
  const OffsetsOperands in(xyz, index, intrinsics, world2cam);
  if (in.out.numel() > 0) Device::offsets(in);
  return in.out;
}

// Checked inputs, and the output.
struct BlendOperands {
  int64_t views, channels, h, w;
  Tensor features, offsets, depth, out;
  BlendJob job;

  BlendOperands(const Tensor& features_, const Tensor& offsets_, const Tensor& depth_, double band)
      : views(depth_.size(0)), channels(features_.size(1)), h(depth_.size(-2)), w(depth_.size(-1)),
        features(expect(features_, features_.scalar_type(), {views, channels, h, w},
                        "splat_blend: features must be (V, C, h, w)")),
        offsets(
            expect(offsets_, ScalarType::Float, {views, 2, h, w}, "splat_blend: offsets must be float32 (V, 2, h, w)")),
        depth(expect(depth_, ScalarType::Float, {views, h, w}, "splat_blend: depth must be float32 (V, h, w)")),
        out(new_empty(features, {views, channels, h, w}, features.scalar_type())) {
    guard(h <= INT32_MAX && w <= INT32_MAX && (w == 0 || h <= INT32_MAX / w), "splat_blend: bad grid size");
    job = {features.const_data_ptr(),
           data<float>(offsets),
           data<float>(depth),
           views,
           channels,
           static_cast<int>(h),
           static_cast<int>(w),
           static_cast<float>(band),
           out.mutable_data_ptr()};
  }
};

template <class Device>
Tensor splat_blend(const Tensor& features, const Tensor& offsets, const Tensor& depth, double band) {
  Device::guard_device(features, {&offsets, &depth});
  guard(features.dim() == 4 && depth.dim() == 3, "splat_blend: features must be maps (V, C, h, w), depth (V, h, w)");
  const BlendOperands in(features, offsets, depth, band);
  if (in.out.numel() > 0)
    with_type(in.features.scalar_type(), [&](auto type) { Device::template blend<decltype(type)>(in); });
  return in.out;
}

template <class Device, class Library>
void register_splat_blend(Library& m) {
  m.impl("splat_offsets", MIRAGE_BOX(&splat_offsets<Device>));
  m.impl("splat_blend", MIRAGE_BOX(&splat_blend<Device>));
}

}  // namespace mirage
