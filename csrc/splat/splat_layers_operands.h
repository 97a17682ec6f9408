// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "splat/splat_cloud.h"
#include "splat/splat_layers.h"
#include "torch/views.h"

// splat with k, and its gradient, on any device. N points, V views, k layers, grid (h, w).
namespace mirage {

// Checked inputs, and the outputs.
struct LayersOperands {
  int64_t n, layers;
  Tensor xyz;
  OptionalTensor valid, extents;
  CameraTensors cameras;
  Tensor index, depth, distance2;  // (V, k, h, w) each
  SplatPoints points;

  LayersOperands(const Tensor& xyz_, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w, int64_t k,
                 const OptionalTensor& valid_, const OptionalTensor& extents_, double extent, double radius,
                 double near)
      : n(xyz_.size(0)), layers(checked(k)),
        xyz(expect(xyz_, ScalarType::Float, {n, 3}, "splat_layers: xyz must be float32 (N, 3)")),
        valid(expect(valid_, ScalarType::Bool, {n}, "splat_layers: valid must be bool (N,)")),
        extents(expect(extents_, ScalarType::Float, {n}, "splat_layers: extents must be float32 (N,)")),
        cameras(intrinsics, world2cam, h, w), index(new_empty(xyz, {cameras.count, layers, h, w}, ScalarType::Long)),
        depth(new_empty(xyz, {cameras.count, layers, h, w}, ScalarType::Float)),
        distance2(new_empty(xyz, {cameras.count, layers, h, w}, ScalarType::Float)) {
    guard(n <= UINT32_MAX, "splat_layers: more than 2^32 - 1 points");
    guard(near >= kNear, "splat_layers: near must be at least 1e-6");
    guard(radius >= 0 && radius <= kMaxRadius, "splat_layers: radius must be 0 to 2^24");
    // A point's own extent is scaled by 1 and has no minimum.
    points = {
        {data<float>(xyz), data<uint8_t>(valid), data<float>(extents), extents ? 1.0f : static_cast<float>(extent),
         -bits_float(0x7f800000u), static_cast<float>(radius), static_cast<float>(near), n},
        Shape::kPoint,
        BoxPyramid{},
        Clouds{nullptr, 1, n, cameras.count, 0}};
    points.shape = shape_of(points);
  }

  LayerCameras layer_cameras() const {
    return {data<float>(cameras.intrinsics), data<float>(cameras.world2cam), points.xyz, layers, cameras.h, cameras.w};
  }

 private:
  static int64_t checked(int64_t k) {
    guard(k >= 1 && k <= kMaxLayers, "splat_layers: k must be 1 to 256");
    return k;
  }
};

template <class Device>
std::tuple<Tensor, Tensor, Tensor> splat_layers(const Tensor& xyz, const Tensor& intrinsics, const Tensor& world2cam,
                                                int64_t h, int64_t w, int64_t k, OptionalTensor valid,
                                                OptionalTensor extents, double extent, double radius, double near) {
  Device::guard_device(xyz, {&intrinsics, &world2cam, pointer_to(valid), pointer_to(extents)});
  const LayersOperands in(xyz, intrinsics, world2cam, h, w, k, valid, extents, extent, radius, near);
  if (in.cameras.count > 0) Device::splat_layers(in);
  return {in.depth, in.distance2, in.index};
}

struct LayersGradient {
  Tensor xyz;
  CameraTensors cameras;
  Tensor index, grad_depth, grad_distance2;  // (V, k, h, w) each
  Tensor out;                                // (N, 3)

  LayersGradient(const Tensor& depth, const Tensor& distance2, const Tensor& xyz_, const Tensor& intrinsics,
                 const Tensor& world2cam, const Tensor& index_)
      : xyz(expect(xyz_, ScalarType::Float, {-1, 3}, "splat_layers_backward_xyz: xyz must be float32 (N, 3)")),
        cameras(intrinsics, world2cam, index_.size(2), index_.size(3)),
        index(expect(index_, ScalarType::Long, {cameras.count, -1, cameras.h, cameras.w},
                     "splat_layers_backward_xyz: index must be int64 (V, k, h, w)")),
        grad_depth(expect(depth, ScalarType::Float, {cameras.count, index.size(1), cameras.h, cameras.w},
                          "splat_layers_backward_xyz: grad_depth must be float32 (V, k, h, w)")),
        grad_distance2(expect(distance2, ScalarType::Float, {cameras.count, index.size(1), cameras.h, cameras.w},
                              "splat_layers_backward_xyz: grad_distance2 must be float32 (V, k, h, w)")),
        out(new_empty(xyz, {xyz.size(0), 3}, ScalarType::Float)) {}

  LayerCameras layer_cameras() const {
    return {data<float>(cameras.intrinsics),
            data<float>(cameras.world2cam),
            data<float>(xyz),
            index.size(1),
            cameras.h,
            cameras.w};
  }
};

template <class Device>
Tensor splat_layers_backward_xyz(const Tensor& grad_depth, const Tensor& grad_distance2, const Tensor& xyz,
                                 const Tensor& intrinsics, const Tensor& world2cam, const Tensor& index) {
  Device::guard_device(xyz, {&grad_depth, &grad_distance2, &intrinsics, &world2cam, &index});
  const LayersGradient in(grad_depth, grad_distance2, xyz, intrinsics, world2cam, index);
  Device::backward_xyz(in);
  return in.out;
}

template <class Device, class Library>
void register_splat_layers(Library& m) {
  m.impl("splat_layers", MIRAGE_BOX(&splat_layers<Device>));
  m.impl("splat_layers_backward_xyz", MIRAGE_BOX(&splat_layers_backward_xyz<Device>));
}

}  // namespace mirage
