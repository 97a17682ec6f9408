// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "project/project.h"
#include "torch/views.h"

// project, on any device. N points, of all V views or of each.
namespace mirage {

// Checked inputs, and the outputs.
struct ProjectOperands {
  CameraTensors cameras;
  bool own;  // whether each view has points of its own
  Tensor xyz;
  int64_t n;
  Tensor uv, depth, inside;  // (V, N, 2), (V, N), (V, N)

  ProjectOperands(const Tensor& xyz_, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w)
      : cameras(intrinsics, world2cam, h, w), own(xyz_.dim() == 3),
        xyz(own ? expect(xyz_, ScalarType::Float, {cameras.count, -1, 3}, "project: xyz must be float32 (V, N, 3)")
                : expect(xyz_, ScalarType::Float, {-1, 3}, "project: xyz must be float32 (N, 3)")),
        n(xyz.size(own ? 1 : 0)), uv(new_empty(xyz, {cameras.count, n, 2}, ScalarType::Float)),
        depth(new_empty(xyz, {cameras.count, n}, ScalarType::Float)),
        inside(new_empty(xyz, {cameras.count, n}, ScalarType::Bool)) {}

  ProjectJob job() const {
    return {data<float>(xyz),
            data<float>(cameras.world2cam),
            data<float>(cameras.intrinsics),
            n,
            own ? n : 0,
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
