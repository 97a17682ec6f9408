// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_composite.h"
#include "torch/dtypes.h"

// composite and its gradients, on any device. N points, V views, k layers, C channels, grid (h, w).
namespace mirage {

inline CompositeMode composite_mode(int64_t mode) {
  guard(mode >= 0 && mode <= static_cast<int64_t>(CompositeMode::kNormalized), "composite: unknown mode");
  return static_cast<CompositeMode>(mode);
}

// Checked inputs: the layers.
struct CompositeOperands {
  Tensor index, weights;  // (V, k, h, w)
  CompositeLayers layers;  // with the indices of `points` points

  CompositeOperands(const Tensor& index_, const Tensor& weights_, int64_t mode, int64_t points)
      : index(expect(index_, ScalarType::Long, {-1, -1, -1, -1}, "composite: index must be int64 (V, k, h, w)")),
        weights(expect(weights_, ScalarType::Float, {index.size(0), index.size(1), index.size(2), index.size(3)},
                       "composite: weights must be float32 (V, k, h, w)")),
        layers{data<int64_t>(index), data<float>(weights), index.size(1), index.size(2) * index.size(3), points,
               composite_mode(mode)} {}

  int64_t views() const { return index.size(0); }
  int64_t cells() const { return views() * layers.cells; }  // of all views
};

inline Tensor expect_composite_grad(const Tensor& grad, const CompositeOperands& in, int64_t channels) {
  return expect(grad, grad.scalar_type(), {in.views(), channels, in.index.size(2), in.index.size(3)},
                "composite: grad must be (V, C, h, w)");
}

template <class Device>
Tensor composite(const Tensor& features, const Tensor& index, const Tensor& weights, int64_t mode) {
  Device::guard_device(features, {&index, &weights});
  const Tensor rows = expect(features, features.scalar_type(), {-1, -1}, "composite: features must be (N, C)");
  const CompositeOperands in(index, weights, mode, rows.size(0));
  const Tensor out = new_empty(rows, {in.views(), rows.size(1), index.size(2), index.size(3)}, rows.scalar_type());
  if (out.numel() > 0) Device::composite(in, rows, out);
  return out;
}

template <class Device>
Tensor composite_backward_features(const Tensor& grad, const Tensor& index, const Tensor& weights, int64_t num_points,
                                   int64_t mode) {
  Device::guard_device(grad, {&index, &weights});
  guard(num_points >= 0, "composite: num_points must be >= 0");
  const CompositeOperands in(index, weights, mode, num_points);
  const Tensor maps = expect_composite_grad(grad, in, grad.size(1));
  const Tensor out = new_empty(maps, {num_points, maps.size(1)}, maps.scalar_type());
  if (out.numel() > 0) Device::backward_features(in, maps, out);
  return out;
}

template <class Device>
Tensor composite_backward_weights(const Tensor& grad, const Tensor& features, const Tensor& index,
                                  const Tensor& weights, int64_t mode) {
  Device::guard_device(grad, {&features, &index, &weights});
  const Tensor rows = expect(features, grad.scalar_type(), {-1, -1}, "composite: features must be of grad's dtype");
  const CompositeOperands in(index, weights, mode, rows.size(0));
  const Tensor maps = expect_composite_grad(grad, in, rows.size(1));
  const Tensor out = new_empty(in.weights, {in.views(), index.size(1), index.size(2), index.size(3)},
                               ScalarType::Float);
  if (out.numel() > 0) Device::backward_weights(in, maps, rows, out);
  return out;
}

template <class Device, class Library>
void register_composite(Library& m) {
  m.impl("composite", MIRAGE_BOX(&composite<Device>));
  m.impl("composite_backward_features", MIRAGE_BOX(&composite_backward_features<Device>));
  m.impl("composite_backward_weights", MIRAGE_BOX(&composite_backward_weights<Device>));
}

}  // namespace mirage
