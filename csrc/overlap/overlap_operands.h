// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "overlap/overlap.h"
#include "torch/views.h"

// visible and overlap, on any device. N points in G groups, V views, W = ceil(G / 64) words; sets a (A, W), b (B, W).
namespace mirage {

// Checked inputs, and the output.
struct VisibleOperands {
  Tensor xyz;
  OptionalTensor valid, groups;
  CameraTensors cameras;
  GroupedPoints points;
  int64_t words;
  Tensor out;  // (V, W)

  VisibleOperands(const Tensor& xyz_, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w,
                  const OptionalTensor& valid_, const OptionalTensor& groups_, int64_t num_groups)
      : xyz(expect(xyz_, ScalarType::Float, {-1, 3}, "visible: xyz must be float32 (N, 3)")),
        valid(expect(valid_, ScalarType::Bool, {xyz.size(0)}, "visible: valid must be bool (N,)")),
        groups(expect(groups_, ScalarType::Long, {xyz.size(0)}, "visible: groups must be int64 (N,)")),
        cameras(intrinsics, world2cam, h, w),
        points{data<float>(xyz), data<uint8_t>(valid), data<int64_t>(groups), xyz.size(0), num_groups},
        words(ceil_div(checked(num_groups, points.n, groups.has_value()), 64)),
        out(new_empty(xyz, {cameras.count, words}, ScalarType::Long)) {}

 private:
  // Half a gigabyte of bits for each view; beyond that, the number of words may overflow.
  static int64_t checked(int64_t num_groups, int64_t n, bool grouped) {
    guard(num_groups >= 0 && num_groups <= (int64_t{1} << 32) && (grouped || num_groups == n),
          "visible: bad number of groups");
    return num_groups;
  }
};

template <class Device>
Tensor visible(const Tensor& xyz, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w,
               OptionalTensor valid, OptionalTensor groups, int64_t num_groups) {
  Device::guard_device(xyz, {&intrinsics, &world2cam, pointer_to(valid), pointer_to(groups)});
  const VisibleOperands in(xyz, intrinsics, world2cam, h, w, valid, groups, num_groups);
  if (in.out.numel() > 0) Device::visible(in);
  return in.out;
}

struct OverlapOperands {
  int64_t num_a, num_b, words;
  Tensor a, b, out;  // (A, W), (B, W), (A, B)

  OverlapOperands(const Tensor& a_, const Tensor& b_)
      : num_a(a_.size(0)), num_b(b_.size(0)), words(a_.size(-1)),
        a(expect(a_, ScalarType::Long, {num_a, words}, "overlap: a must be int64 (A, W)")),
        b(expect(b_, ScalarType::Long, {num_b, words}, "overlap: b must be int64 (B, W)")),
        out(new_empty(a, {num_a, num_b}, ScalarType::Float)) {}
};

template <class Device>
Tensor overlap(const Tensor& a, const Tensor& b) {
  Device::guard_device(a, {&b});
  const OverlapOperands in(a, b);
  if (in.out.numel() > 0) Device::overlap(in);
  return in.out;
}

template <class Device, class Library>
void register_overlap(Library& m) {
  m.impl("visible", MIRAGE_BOX(&visible<Device>));
  m.impl("overlap", MIRAGE_BOX(&overlap<Device>));
}

}  // namespace mirage
