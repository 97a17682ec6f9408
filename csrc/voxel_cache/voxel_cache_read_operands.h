// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "torch/boxes.h"
#include "torch/dtypes.h"
#include "torch/views.h"
#include "voxel_cache/voxel_cache_operands.h"

// carve and decode, on any device. V views on a grid (h, w), R rows, C channels.
namespace mirage {

// Checked inputs, and the output.
struct CarveOperands {
  CameraTensors cameras;
  Tensor depth;  // (V, h, w)
  Tensor keep;   // (rows,)
  CarvedRows rows;

  CarveOperands(const Tensor& xyz, const Tensor& depth_, const Tensor& intrinsics, const Tensor& world2cam,
                const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t num_rows, double factor)
      : cameras(intrinsics, world2cam, depth_.size(1), depth_.size(2)),
        depth(expect(depth_, ScalarType::Float, {cameras.count, cameras.h, cameras.w}, "voxel_cache_carve: bad depth")),
        keep(new_empty(xyz, {std::max<int64_t>(num_rows, 0)}, ScalarType::Bool)) {
    expect_state(xyz, ScalarType::Float, {-1, 3}, "voxel_cache_carve: xyz must be float32 (R, 3)");
    guard(num_rows >= 0 && num_rows <= xyz.size(0), "voxel_cache_carve: rows must be within capacity");
    const BoxPyramid boxes = load_boxes(boxes0, boxes1, boxes2, num_rows);
    rows = {data<float>(xyz),           num_rows,  boxes,     cameras.count,
            data<float>(depth),         cameras.h, cameras.w, static_cast<float>(factor),
            mutable_data<uint8_t>(keep)};
  }
};

template <class Device>
Tensor voxel_cache_carve(const Tensor& xyz, const Tensor& depth, const Tensor& intrinsics, const Tensor& world2cam,
                         const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows,
                         double factor) {
  Device::guard_device(xyz, {&depth, &intrinsics, &world2cam, &boxes0, &boxes1, &boxes2});
  const CarveOperands in(xyz, depth, intrinsics, world2cam, boxes0, boxes1, boxes2, rows, factor);
  Device::carve(in);
  return in.keep;
}

struct DecodeOperands {
  Tensor index, out;  // (V, h, w), (V, C, h, w)
  StoredRows rows;
  int64_t views, cells;

  DecodeOperands(const Tensor& features, const OptionalTensor& scale, const OptionalTensor& count, const Tensor& index_,
                 const Tensor& like)
      : index(expect(index_, ScalarType::Long, {-1, -1, -1}, "voxel_cache_decode: index must be int64 (V, h, w)")),
        out(new_empty(like, {index.size(0), features.size(1), index.size(1), index.size(2)}, like.scalar_type())),
        rows{features.const_data_ptr(), element_of(features.scalar_type()),
             data<float>(scale),        data<int32_t>(count),
             features.size(0),          features.size(1)},
        views(index.size(0)), cells(index.size(1) * index.size(2)) {
    const int64_t r = rows.rows;
    expect_state(features, features.scalar_type(), {r, rows.channels}, "voxel_cache_decode: features must be (R, C)");
    if (scale) expect_state(*scale, ScalarType::Float, {r}, "voxel_cache_decode: scale must be float32 (R,)");
    if (count) expect_state(*count, ScalarType::Int, {r}, "voxel_cache_decode: count must be int32 (R,)");
  }
};

template <class Device>
Tensor voxel_cache_decode(const Tensor& features, OptionalTensor scale, OptionalTensor count, const Tensor& index,
                          const Tensor& like) {
  Device::guard_device(features, {pointer_to(scale), pointer_to(count), &index, &like});
  const DecodeOperands in(features, scale, count, index, like);
  if (in.out.numel() > 0) Device::decode(in);
  return in.out;
}

template <class Device, class Library>
void register_voxel_cache_read(Library& m) {
  m.impl("voxel_cache_carve", MIRAGE_BOX(&voxel_cache_carve<Device>));
  m.impl("voxel_cache_decode", MIRAGE_BOX(&voxel_cache_decode<Device>));
}

}  // namespace mirage
