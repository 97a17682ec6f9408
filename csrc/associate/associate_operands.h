// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "associate/associate.h"
#include "torch/views.h"

// associate, on any device. N points, R rendered points, F past depth maps (h, w).
namespace mirage {

// Checked inputs, and the output.
struct AssociateOperands {
  Tensor xyz, depth, footprint;
  OptionalTensor valid;
  Tensor rendered, index, footprints;
  Tensor past;
  CameraTensors cameras;
  Tensor out;  // (N,) uint8
  AssociateJob job;

  AssociateOperands(const Tensor& xyz_, const Tensor& depth_, const Tensor& footprint_, const OptionalTensor& valid_,
                    const Tensor& rendered_, const Tensor& index_, const Tensor& footprints_, const Tensor& past_,
                    const Tensor& intrinsics, const Tensor& world2cam, double tolerance, double closer)
      : xyz(expect(xyz_, ScalarType::Float, {-1, 3}, "associate: xyz must be float32 (N, 3)")),
        depth(expect(depth_, ScalarType::Float, {xyz.size(0)}, "associate: depth must be float32 (N,)")),
        footprint(expect(footprint_, ScalarType::Float, {xyz.size(0)}, "associate: footprint must be float32 (N,)")),
        valid(expect(valid_, ScalarType::Bool, {xyz.size(0)}, "associate: valid must be bool (N,)")),
        rendered(expect(rendered_, ScalarType::Float, {xyz.size(0)}, "associate: rendered must be float32 (N,)")),
        index(expect(index_, ScalarType::Long, {xyz.size(0)}, "associate: index must be int64 (N,)")),
        footprints(expect(footprints_, ScalarType::Float, {-1}, "associate: footprints must be float32 (R,)")),
        past(
            expect(past_, ScalarType::Float, {world2cam.size(0), -1, -1}, "associate: past must be float32 (F, h, w)")),
        cameras(intrinsics, world2cam, past.size(1), past.size(2)),
        out(new_empty(xyz, {xyz.size(0)}, ScalarType::Byte)), job{data<float>(xyz),
                                                                  data<float>(depth),
                                                                  data<float>(footprint),
                                                                  data<uint8_t>(valid),
                                                                  data<float>(rendered),
                                                                  data<int64_t>(index),
                                                                  data<float>(footprints),
                                                                  xyz.size(0),
                                                                  footprints.size(0),
                                                                  data<float>(cameras.world2cam),
                                                                  data<float>(cameras.intrinsics),
                                                                  data<float>(past),
                                                                  cameras.count,
                                                                  cameras.h,
                                                                  cameras.w,
                                                                  AssociationRule::of(tolerance, closer),
                                                                  mutable_data<uint8_t>(out)} {}
};

template <class Device>
Tensor associate(const Tensor& xyz, const Tensor& depth, const Tensor& footprint, OptionalTensor valid,
                 const Tensor& rendered, const Tensor& index, const Tensor& footprints, const Tensor& past,
                 const Tensor& intrinsics, const Tensor& world2cam, double tolerance, double closer) {
  Device::guard_device(
      xyz, {&depth, &footprint, pointer_to(valid), &rendered, &index, &footprints, &past, &intrinsics, &world2cam});
  const AssociateOperands in(xyz, depth, footprint, valid, rendered, index, footprints, past, intrinsics, world2cam,
                             tolerance, closer);
  if (in.job.n > 0) Device::associate(in);
  return in.out;
}

template <class Device, class Library>
void register_associate(Library& m) {
  m.impl("associate", MIRAGE_BOX(&associate<Device>));
}

}  // namespace mirage
