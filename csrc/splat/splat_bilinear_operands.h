// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "splat/splat.h"
#include "splat/splat_cloud.h"
#include "torch/dtypes.h"
#include "torch/views.h"

// splat with mode "bilinear" and its gradients, on any device. N points, V views, C channels, grid (h, w).
namespace mirage {

// What the operation and its gradients have in common, checked.
struct BilinearCloud {
  Tensor xyz;
  OptionalTensor valid;
  CameraTensors cameras;
  SplatPoints points;
  float band;

  BilinearCloud(const Tensor& xyz_, const OptionalTensor& valid_, const Tensor& intrinsics, const Tensor& world2cam,
                int64_t h, int64_t w, double band_, double near)
      : xyz(expect(xyz_, ScalarType::Float, {-1, 3}, "splat_bilinear: xyz must be float32 (N, 3)")),
        valid(expect(valid_, ScalarType::Bool, {xyz.size(0)}, "splat_bilinear: valid must be bool (N,)")),
        cameras(intrinsics, world2cam, h, w), points{{data<float>(xyz), data<uint8_t>(valid), nullptr, 0.0f, 0.0f, 0.0f,
                                                      static_cast<float>(near), xyz.size(0)},
                                                     Shape::kCorners,
                                                     {},
                                                     one_cloud(xyz.size(0), cameras.count)},
        band(static_cast<float>(band_)) {
    guard(near >= kNear, "splat_bilinear: near must be at least 1e-6");
    guard(points.n <= UINT32_MAX, "splat_bilinear: more than 2^32 - 1 points");
  }
};

inline Tensor expect_features(const Tensor& features, ScalarType dtype, int64_t n, int64_t c) {
  return expect(features, dtype, {n, c}, "splat_bilinear: features must be (N, C)");
}

struct BilinearOperands : BilinearCloud {
  Tensor features;                   // (N, C)
  Tensor out, depth, index, weight;  // (V, C, h, w), and (V, h, w) each

  BilinearOperands(const Tensor& features_, const BilinearCloud& cloud)
      : BilinearCloud(cloud),
        features(expect_features(features_, features_.scalar_type(), points.n, features_.size(-1))),
        out(new_empty(features, {cameras.count, features.size(1), cameras.h, cameras.w}, features.scalar_type())),
        depth(new_empty(xyz, {cameras.count, cameras.h, cameras.w}, ScalarType::Float)),
        index(new_empty(xyz, {cameras.count, cameras.h, cameras.w}, ScalarType::Long)),
        weight(new_empty(xyz, {cameras.count, cameras.h, cameras.w}, ScalarType::Float)) {}
};

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor> splat_bilinear(const Tensor& xyz, const Tensor& features,
                                                          const Tensor& intrinsics, const Tensor& world2cam, int64_t h,
                                                          int64_t w, OptionalTensor valid, double band, double near) {
  Device::guard_device(xyz, {&features, &intrinsics, &world2cam, pointer_to(valid)});
  const BilinearOperands in(features, BilinearCloud(xyz, valid, intrinsics, world2cam, h, w, band, near));
  Device::splat(in);
  return {in.out, in.depth, in.index, in.weight};
}

struct BilinearGradient : BilinearCloud {
  Tensor grad, depth, weight;  // (V, C, h, w), and (V, h, w) each

  BilinearGradient(const Tensor& grad_features, const Tensor& depth_, const Tensor& weight_, const BilinearCloud& cloud)
      : BilinearCloud(cloud),
        grad(expect(grad_features, grad_features.scalar_type(), {depth_.size(0), -1, cameras.h, cameras.w},
                    "splat_bilinear: grad_features must be (V, C, h, w)")),
        depth(expect(depth_, ScalarType::Float, {cameras.count, cameras.h, cameras.w},
                     "splat_bilinear: depth must be float32 (V, h, w)")),
        weight(expect(weight_, ScalarType::Float, {cameras.count, cameras.h, cameras.w},
                      "splat_bilinear: weight must be float32 (V, h, w)")) {}
  int64_t channels() const { return grad.size(1); }
};

template <class Device>
BilinearGradient load_gradient(const Tensor& grad_features, const Tensor& xyz, const Tensor& intrinsics,
                               const Tensor& world2cam, const OptionalTensor& valid, const Tensor& depth,
                               const Tensor& weight, double band, double near) {
  Device::guard_device(xyz, {&grad_features, &intrinsics, &world2cam, pointer_to(valid), &depth, &weight});
  return {grad_features, depth, weight,
          BilinearCloud(xyz, valid, intrinsics, world2cam, depth.size(1), depth.size(2), band, near)};
}

template <class Device>
Tensor splat_bilinear_backward_features(const Tensor& grad_features, const Tensor& xyz, const Tensor& intrinsics,
                                        const Tensor& world2cam, OptionalTensor valid, const Tensor& depth,
                                        const Tensor& weight, double band, double near) {
  const auto in = load_gradient<Device>(grad_features, xyz, intrinsics, world2cam, valid, depth, weight, band, near);
  const Tensor out = new_empty(in.grad, {in.points.n, in.channels()}, in.grad.scalar_type());
  Device::backward_features(in, out);
  return out;
}

template <class Device>
Tensor splat_bilinear_backward_xyz(const Tensor& grad_features, const Tensor& blended, const Tensor& xyz,
                                   const Tensor& features, const Tensor& intrinsics, const Tensor& world2cam,
                                   OptionalTensor valid, const Tensor& depth, const Tensor& weight, double band,
                                   double near) {
  const auto in = load_gradient<Device>(grad_features, xyz, intrinsics, world2cam, valid, depth, weight, band, near);
  Device::guard_device(xyz, {&features, &blended});
  const ScalarType dtype = in.grad.scalar_type();
  const Tensor rows = expect_features(features, dtype, in.points.n, in.channels());
  const Tensor maps = expect(blended, dtype, {in.cameras.count, in.channels(), in.cameras.h, in.cameras.w},
                             "splat_bilinear: blended must be (V, C, h, w)");
  const Tensor out = new_empty(in.xyz, {in.points.n, 3}, ScalarType::Float);
  Device::backward_xyz(in, rows, maps, out);
  return out;
}

template <class Device, class Library>
void register_splat_bilinear(Library& m) {
  m.impl("splat_bilinear", MIRAGE_BOX(&splat_bilinear<Device>));
  m.impl("splat_bilinear_backward_features", MIRAGE_BOX(&splat_bilinear_backward_features<Device>));
  m.impl("splat_bilinear_backward_xyz", MIRAGE_BOX(&splat_bilinear_backward_xyz<Device>));
}

}  // namespace mirage
