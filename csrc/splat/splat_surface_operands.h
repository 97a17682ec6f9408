// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "splat/splat_operands.h"
#include "splat/splat_surface.h"

// splat_surface, on any device: renderings of the same points as points and as squares, composited. N points, V views.
namespace mirage {

// The points of a mask in all views.
template <class Device>
struct SurfaceDrawing {
  const Tensor &xyz, &footprint, &intrinsics, &world2cam;
  int64_t h, w;
  double min_extent, near;
  const OptionalTensor &boxes0, &boxes1, &boxes2;
  Tensor no_features;  // (N, 0)

  SplatOperands operator()(const OptionalTensor& mask, double scale) const {
    const SplatOperands in(xyz, no_features, intrinsics, world2cam, h, w, mask,
                           scale > 0.0 ? OptionalTensor(footprint) : OptionalTensor(), scale, min_extent, 0.0, boxes0,
                           boxes1, boxes2, near);
    Device::splat(in);
    return in;
  }
};

template <class Device>
void composite(const SplatOperands& first, const SplatOperands& second, const SurfaceRule& rule) {
  const int64_t n = first.depth.numel();
  if (n == 0) return;
  Device::composite(first.xyz, {mutable_data<float>(first.depth), mutable_data<int64_t>(first.index),
                                data<float>(second.depth), data<int64_t>(second.index), n, rule});
}

template <class Device>
std::tuple<Tensor, Tensor> splat_surface(const Tensor& xyz, const Tensor& footprint, const Tensor& intrinsics,
                                         const Tensor& world2cam, int64_t h, int64_t w, OptionalTensor valid,
                                         OptionalTensor behind, OptionalTensor below, double first_scale, double scale,
                                         double min_extent, double tolerance, const OptionalTensor& boxes0,
                                         const OptionalTensor& boxes1, const OptionalTensor& boxes2, double near) {
  Device::guard_device(xyz, {&footprint, &intrinsics, &world2cam, pointer_to(valid), pointer_to(behind),
                             pointer_to(below), pointer_to(boxes0), pointer_to(boxes1), pointer_to(boxes2)});
  guard(xyz.dim() == 2, "splat_surface: xyz must be float32 (N, 3)");
  guard(footprint.dim() == 1 && footprint.size(0) == xyz.size(0), "splat_surface: footprint must be float32 (N,)");
  guard(tolerance >= 0, "splat_surface: tolerance must be at least 0");
  for (const OptionalTensor* mask : {&valid, &behind, &below})
    guard(!*mask || (*mask)->dim() == 1, "splat_surface: masks must be bool (N,)");
  const SurfaceDrawing<Device> draw{xyz,    footprint, intrinsics, world2cam,
                                    h,      w,         min_extent, near,
                                    boxes0, boxes1,    boxes2,     new_empty(xyz, {xyz.size(0), 0}, ScalarType::Float)};
  const SurfaceRule farther{static_cast<float>(1.0 + tolerance), 0}, holes{0.0f, 1};
  const auto draw_surface = [&](const OptionalTensor& mask) {
    const SplatOperands first = draw(mask, first_scale);
    if (scale != first_scale) composite<Device>(first, draw(mask, scale), farther);
    return first;
  };
  const SplatOperands surface = draw_surface(valid);
  if (behind) composite<Device>(surface, draw(behind, scale), farther);
  if (below) composite<Device>(surface, draw_surface(below), holes);
  return {surface.depth, surface.index};
}

template <class Device, class Library>
void register_splat_surface(Library& m) {
  m.impl("splat_surface", MIRAGE_BOX(&splat_surface<Device>));
}

}  // namespace mirage
