// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <limits>
#include <tuple>

#include "splat/splat.h"
#include "splat/splat_cloud.h"
#include "torch/boxes.h"
#include "torch/dtypes.h"
#include "torch/views.h"

// splat and its gradients, on any device. N points, V views, C channels, grid (h, w).
namespace mirage {

// The number of rows of a tensor (N, ...) or (B, N, ...), whose rows have `axes` axes.
inline int64_t count_rows(const Tensor& t, int64_t axes) {
  const auto sizes = t.sizes();
  int64_t rows = 1;
  for (int64_t d = 0; d + axes < t.dim(); ++d) rows *= sizes[d];
  return rows;
}

// A contiguous tensor of so many rows, each a number or as many as `width`.
inline Tensor expect_rows(const Tensor& t, ScalarType dtype, int64_t rows, std::initializer_list<int64_t> width,
                          const char* what) {
  const int64_t axes = static_cast<int64_t>(width.size()), leading = t.dim() - axes;
  const bool fits = leading > 0 && leading <= 2 && (axes == 0 || t.size(-1) == *width.begin());
  guard(t.scalar_type() == dtype && fits && count_rows(t, axes) == rows, what);
  return dense(t);
}

inline OptionalTensor expect_rows(const OptionalTensor& t, ScalarType dtype, int64_t rows, const char* what) {
  return t ? OptionalTensor(expect_rows(*t, dtype, rows, {}, what)) : std::nullopt;
}

inline int64_t count_clouds(const Tensor& xyz, const OptionalTensor& offsets) {
  return offsets ? offsets->numel() - 1 : xyz.dim() == 3 ? xyz.size(0) : 1;
}

// Checked inputs, and the outputs. Several clouds are (B, N, ...), or (N, ...) with offsets.
struct SplatOperands {
  int64_t n, clouds;  // n of all clouds
  Tensor xyz, features;
  CameraTensors cameras;
  bool own_masks;  // whether valid is (V, N of a cloud)
  OptionalTensor valid, extents, offsets;
  Tensor out, depth, index;  // (V, C, h, w), (V, h, w), (V, h, w)
  SplatPoints points;

  SplatOperands(const Tensor& xyz_, const Tensor& features_, const Tensor& intrinsics, const Tensor& world2cam,
                int64_t h, int64_t w, const OptionalTensor& valid_, const OptionalTensor& extents_, double extent,
                double min_extent, double radius, const OptionalTensor& boxes0, const OptionalTensor& boxes1,
                const OptionalTensor& boxes2, double near, const OptionalTensor& offsets_ = {})
      : n(count_rows(xyz_, 1)), clouds(count_clouds(xyz_, offsets_)),
        xyz(expect_rows(xyz_, ScalarType::Float, n, {3}, "splat: xyz must be float32 (N, 3)")),
        features(
            expect_rows(features_, features_.scalar_type(), n, {features_.size(-1)}, "splat: features must be (N, C)")),
        cameras(intrinsics, world2cam, h, w),
        own_masks(valid_ && valid_->dim() == 2 && !(xyz_.dim() == 3 && valid_->size(0) == clouds)),
        valid(expect_rows(valid_, ScalarType::Bool, own_masks ? n / std::max<int64_t>(clouds, 1) * cameras.count : n,
                          "splat: valid must be bool (N,) or (V, N)")),
        extents(expect_rows(extents_, ScalarType::Float, n, "splat: extents must be float32 (N,)")),
        offsets(expect(offsets_, ScalarType::Long, {-1}, "splat: offsets must be int64 (B + 1,)")),
        out(new_empty(features, {cameras.count, features.size(-1), h, w}, features.scalar_type())),
        depth(new_empty(xyz, {cameras.count, h, w}, ScalarType::Float)),
        index(new_empty(xyz, {cameras.count, h, w}, ScalarType::Long)) {
    guard(n <= UINT32_MAX, "splat: more than 2^32 - 1 points");
    guard(clouds > 0 ? cameras.count % clouds == 0 : clouds == 0 && cameras.count == 0,
          "splat: clouds must divide the views");
    guard(!offsets || (xyz_.dim() == 2 && !own_masks), "splat: offsets go with xyz (N, 3) and valid (N,)");
    guard(!own_masks || valid->size(0) == cameras.count, "splat: valid (V, N) must have V rows");
    guard(near >= kNear, "splat: near must be at least 1e-6");
    guard(radius >= 0 && radius <= kMaxRadius, "splat: radius must be 0 to 2^24");
    guard(boxes0.has_value() == boxes1.has_value() && boxes0.has_value() == boxes2.has_value(),
          "splat: boxes must come in three levels");
    guard(!boxes0 || extents || !(extent > 0.0), "splat: boxes do not go with one extent for all points");
    guard(!boxes0 || !extents || !(radius > 0.0), "splat: boxes do not go with a radius for each point");
    points = {{data<float>(xyz), data<uint8_t>(valid), data<float>(extents), static_cast<float>(extent),
               static_cast<float>(min_extent), static_cast<float>(radius), static_cast<float>(near), n},
              Shape::kPoint,
              boxes0 ? load_boxes(*boxes0, *boxes1, *boxes2, n) : BoxPyramid{},
              {data<int64_t>(offsets), clouds, n, std::max<int64_t>(cameras.count / std::max<int64_t>(clouds, 1), 1),
               own_masks}};
    points.shape = shape_of(points);
  }

  int64_t channels() const { return features.size(-1); }
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

// Several clouds; extents as they are.
template <class Device>
std::tuple<Tensor, Tensor, Tensor> splat_clouds(const Tensor& xyz, const Tensor& features, const Tensor& intrinsics,
                                                const Tensor& world2cam, int64_t h, int64_t w, OptionalTensor valid,
                                                OptionalTensor extents, OptionalTensor offsets, double extent,
                                                double radius, double near) {
  Device::guard_device(
      xyz, {&features, &intrinsics, &world2cam, pointer_to(valid), pointer_to(extents), pointer_to(offsets)});
  const double scale = extents ? 1.0 : extent, no_minimum = -std::numeric_limits<float>::max();
  const SplatOperands in(xyz, features, intrinsics, world2cam, h, w, valid, extents, scale, no_minimum, radius, {}, {},
                         {}, near, offsets);
  Device::splat(in);
  return {in.out, in.depth, in.index};
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
  m.impl("splat_clouds", MIRAGE_BOX(&splat_clouds<Device>));
  m.impl("splat_clouds.inference", MIRAGE_BOX(&splat_clouds<Device>));
  m.impl("splat_clouds_plain", MIRAGE_BOX(&splat_plain<Device>));
}

template <class Device, class Library>
void register_splat_backward(Library& m) {
  m.impl("splat_backward_features", MIRAGE_BOX(&splat_backward_features<Device>));
  m.impl("splat_backward_xyz", MIRAGE_BOX(&splat_backward_xyz<Device>));
}

}  // namespace mirage
