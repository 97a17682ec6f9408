// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "project/project.h"
#include "torch/views.h"

// project, on any device. N points, V views.
namespace mirage {

// Checked inputs, and the outputs.
struct ProjectOperands {
  Tensor xyz;
  CameraTensors cameras;
  Tensor uv, depth, inside;  // (V, N, 2), (V, N), (V, N)

  ProjectOperands(const Tensor& xyz_, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w)
      : xyz(expect(xyz_, ScalarType::Float, {-1, 3}, "project: xyz must be float32 (N, 3)")),
        cameras(intrinsics, world2cam, h, w), uv(new_empty(xyz, {cameras.count, xyz.size(0), 2}, ScalarType::Float)),
        depth(new_empty(xyz, {cameras.count, xyz.size(0)}, ScalarType::Float)),
        inside(new_empty(xyz, {cameras.count, xyz.size(0)}, ScalarType::Bool)) {}

  ProjectJob job() const {
    return {data<float>(xyz),
            data<float>(cameras.world2cam),
            data<float>(cameras.intrinsics),
            xyz.size(0),
            cameras.count,
            cameras.h,
            cameras.w,
            mutable_data<float>(uv),
            mutable_data<float>(depth),
            mutable_data<uint8_t>(inside)};
  }
};

template <class Device>
std::tuple<Tensor, Tensor, Tensor> project(const Tensor& xyz, const Tensor& intrinsics, const Tensor& world2cam,
                                           int64_t h, int64_t w) {
  Device::guard_device(xyz, {&intrinsics, &world2cam});
  const ProjectOperands in(xyz, intrinsics, world2cam, h, w);
  if (in.depth.numel() > 0) Device::project(in);
  return {in.uv, in.depth, in.inside};
}

template <class Device, class Library>
void register_project(Library& m) {
  m.impl("project", MIRAGE_BOX(&project<Device>));
}

}  // namespace mirage
