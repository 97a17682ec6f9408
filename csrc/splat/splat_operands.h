// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "splat/splat.h"
#include "splat/splat_cloud.h"
#include "torch/boxes.h"
#include "torch/dtypes.h"
#include "torch/views.h"

// splat and its gradients, on any device. N points, V views, C channels, grid (h, w).
namespace mirage {

// Checked inputs, and the outputs.
struct SplatOperands {
  int64_t n;
  Tensor xyz, features;
  OptionalTensor valid, extents;
  CameraTensors cameras;
  Tensor out, depth, index;  // (V, C, h, w), (V, h, w), (V, h, w)
  SplatPoints points;

  SplatOperands(const Tensor& xyz_, const Tensor& features_, const Tensor& intrinsics, const Tensor& world2cam,
                int64_t h, int64_t w, const OptionalTensor& valid_, const OptionalTensor& extents_, double extent,
                double min_extent, double radius, const OptionalTensor& boxes0, const OptionalTensor& boxes1,
                const OptionalTensor& boxes2, double near)
      : n(xyz_.size(0)), xyz(expect(xyz_, ScalarType::Float, {n, 3}, "splat: xyz must be float32 (N, 3)")),
        features(expect(features_, features_.scalar_type(), {n, -1}, "splat: features must be (N, C)")),
        valid(expect(valid_, ScalarType::Bool, {n}, "splat: valid must be bool (N,)")),
        extents(expect(extents_, ScalarType::Float, {n}, "splat: extents must be float32 (N,)")),
        cameras(intrinsics, world2cam, h, w),
        out(new_empty(features, {cameras.count, features.size(1), h, w}, features.scalar_type())),
        depth(new_empty(xyz, {cameras.count, h, w}, ScalarType::Float)),
        index(new_empty(xyz, {cameras.count, h, w}, ScalarType::Long)) {
    guard(n <= UINT32_MAX, "splat: more than 2^32 - 1 points");
    guard(near >= kNear, "splat: near must be at least 1e-6");
    guard(radius >= 0 && radius <= kMaxRadius, "splat: radius must be 0 to 2^24");
    guard(boxes0.has_value() == boxes1.has_value() && boxes0.has_value() == boxes2.has_value(),
          "splat: boxes must come in three levels");
    guard(!boxes0 || extents || !(extent > 0.0), "splat: boxes do not go with one extent for all points");
    points = {{data<float>(xyz), data<uint8_t>(valid), data<float>(extents), static_cast<float>(extent),
               static_cast<float>(min_extent), static_cast<float>(radius), static_cast<float>(near), n},
              Shape::kPoint,
              boxes0 ? load_boxes(*boxes0, *boxes1, *boxes2, n) : BoxPyramid{}};
    if (extents || points.extent > 0.0f)
      points.shape = Shape::kSquare;
    else if (points.radius > 0.0f)
      points.shape = Shape::kDisc;
  }

  int64_t channels() const { return features.size(1); }
};

template <class Device>
std::tuple<Tensor, Tensor, Tensor> splat(const Tensor& xyz, const Tensor& features, const Tensor& intrinsics,
                                         const Tensor& world2cam, int64_t h, int64_t w, OptionalTensor valid,
                                         OptionalTensor extents, double extent, double min_extent, double radius,
                                         const OptionalTensor& boxes0, const OptionalTensor& boxes1,
                                         const OptionalTensor& boxes2, double near) {
  Device::guard_device(xyz, {&features, &intrinsics, &world2cam, pointer_to(valid), pointer_to(extents),
                             pointer_to(boxes0), pointer_to(boxes1), pointer_to(boxes2)});
  const SplatOperands in(xyz, features, intrinsics, world2cam, h, w, valid, extents, extent, min_extent, radius, boxes0,
                         boxes1, boxes2, near);
  Device::splat(in);
  return {in.out, in.depth, in.index};
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor> splat_plain(const Tensor& xyz, const Tensor& features, const Tensor& intrinsics,
                                               const Tensor& world2cam, int64_t h, int64_t w) {
  return splat<Device>(xyz, features, intrinsics, world2cam, h, w, {}, {}, 0.0, 0.0, 0.0, {}, {}, {}, kNear);
}

// The gradient of a map of cells, which is summed over the cells of each point. depth = Z = r20 x + r21 y + r22 z + t2,
// so that of the depth goes to the point along the view's third row.
struct SplatGradient {
  Tensor grad, index, out;  // (V, C, h, w) or (V, h, w); (V, h, w); (num_points, C) or (num_points, 3)
  int64_t views, cells, channels, num_points;
};

inline Tensor expect_index(const Tensor& index, int64_t num_points) {
  guard(num_points >= 0, "splat: num_points must be >= 0");
  return expect(index, ScalarType::Long, {-1, -1, -1}, "splat: index must be int64 (V, h, w)");
}

template <class Device>
Tensor splat_backward_features(const Tensor& grad_features, const Tensor& index, int64_t num_points) {
  const int64_t v = index.size(0), h = index.size(1), w = index.size(2), c = grad_features.size(1);
  const ScalarType dtype = grad_features.scalar_type();
  Device::guard_device(grad_features, {&index});
  const SplatGradient in{expect(grad_features, dtype, {v, c, h, w}, "splat: grad_features must be (V, C, h, w)"),
                         expect_index(index, num_points),
                         new_empty(grad_features, {num_points, c}, dtype),
                         v,
                         h * w,
                         c,
                         num_points};
  Device::backward_features(in);
  return in.out;
}

template <class Device>
Tensor splat_backward_xyz(const Tensor& grad_depth, const Tensor& index, const Tensor& world2cam, int64_t num_points) {
  const int64_t v = index.size(0), h = index.size(1), w = index.size(2);
  Device::guard_device(grad_depth, {&index, &world2cam});
  const SplatGradient in{
      expect(grad_depth, ScalarType::Float, {v, h, w}, "splat: grad_depth must be float32 (V, h, w)"),
      expect_index(index, num_points),
      new_empty(grad_depth, {num_points, 3}, ScalarType::Float),
      v,
      h * w,
      1,
      num_points};
  Device::backward_xyz(in,
                       expect(world2cam, ScalarType::Float, {v, 3, 4}, "splat: world2cam must be float32 (V, 3, 4)"));
  return in.out;
}

template <class Device, class Library>
void register_splat(Library& m) {
  m.impl("splat", MIRAGE_BOX(&splat<Device>));
  m.impl("splat.inference", MIRAGE_BOX(&splat<Device>));
  m.impl("splat_plain", MIRAGE_BOX(&splat_plain<Device>));
}

template <class Device, class Library>
void register_splat_backward(Library& m) {
  m.impl("splat_backward_features", MIRAGE_BOX(&splat_backward_features<Device>));
  m.impl("splat_backward_xyz", MIRAGE_BOX(&splat_backward_xyz<Device>));
}

}  // namespace mirage
