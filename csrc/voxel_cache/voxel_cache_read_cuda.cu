// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "torch/boxes.h"
#include "torch/views_cuda.h"
#include "voxel_cache/voxel_cache_read_kernels.cuh"
#include "voxel_cache/voxel_cache_tensor.h"

// What views see of the rows. V views on a grid (h, w), R rows, C channels.
namespace mirage {
namespace {

constexpr int64_t kMostCarvers = limit_of(1024, 2);  // blocks: a large device holds as many at once

Tensor voxel_cache_carve(const Tensor& xyz, const Tensor& depth, const Tensor& intrinsics, const Tensor& world2cam,
                         const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows,
                         double factor) {
  const int64_t v = depth.size(0), h = depth.size(1), w = depth.size(2);
  guard_device(xyz, {&depth, &intrinsics, &world2cam, &boxes0, &boxes1, &boxes2});
  const Tensor maps = expect(depth, ScalarType::Float, {v, h, w}, "voxel_cache_carve: bad depth");
  const CamerasOnDevice cameras(intrinsics, world2cam, h, w);
  guard(cameras.count == v, "world2cam must be float32 (V, 3, 4)");
  expect_state(xyz, ScalarType::Float, {-1, 3}, "voxel_cache_carve: xyz must be float32 (R, 3)");
  guard(rows >= 0 && rows <= xyz.size(0), "voxel_cache_carve: rows must be within capacity");
  const PageBoxes boxes = load_boxes(boxes0, boxes1, boxes2, rows);

  const Tensor out = empty_like(xyz, {rows}, ScalarType::Bool);
  const OnDevice on(xyz);
  const ViewsOnDevice views(cameras, 0.0f, Fill{mutable_data<uint8_t>(out), rows, 1}, on.stream);
  const CarvedRows job{data<float>(xyz), boxes.pages, rows, data<float>(maps), views.views, v, cameras.h, cameras.w,
                       static_cast<float>(factor), mutable_data<uint8_t>(out)};
  if (v > 0)
    launch(carve_rows, static_cast<unsigned>(std::min(ceil_div(boxes.num_pages, kCarveWarps), kMostCarvers)),
           kCarveThreads, 0, on.stream, job);
  return out;
}

bool all_aligned(const void* at, int64_t step) {  // at, at + step, ... bytes
  return reinterpret_cast<uintptr_t>(at) % 16 == 0 && step % 16 == 0;
}

// An index that names a row that is not there is taken for a hole: nobody is there to be told.
Tensor voxel_cache_decode(const Tensor& features, OptionalTensor scale, OptionalTensor count, const Tensor& index,
                          const Tensor& like) {
  const int64_t r = features.size(0), c = features.size(1), v = index.size(0), h = index.size(1), w = index.size(2);
  guard_device(features, {pointer_to(scale), pointer_to(count), &index, &like});
  expect_state(features, features.scalar_type(), {r, c}, "voxel_cache_decode: features must be (R, C)");
  if (scale) expect_state(*scale, ScalarType::Float, {r}, "voxel_cache_decode: scale must be float32 (R,)");
  if (count) expect_state(*count, ScalarType::Int, {r}, "voxel_cache_decode: count must be int32 (R,)");
  const Tensor at = expect(index, ScalarType::Long, {v, h, w}, "voxel_cache_decode: index must be int64 (V, h, w)");
  const Element from = element_of(features.scalar_type());
  const Tensor out = empty_like(like, {v, c, h, w}, like.scalar_type());
  const int64_t cells = h * w;
  if (v * c * cells == 0) return out;
  const OnDevice on(features);
  const StoredRows stored{features.const_data_ptr(), from, all_aligned(features.const_data_ptr(), c * size_of(from)),
                          data<float>(scale), data<int32_t>(count), r, c};
  const Element to = element_of(like.scalar_type());
  const DecodedCells goal{data<int64_t>(at), cells, all_aligned(out.const_data_ptr(), cells * size_of(to))};
  const auto run = [&](auto word) {
    using To = decltype(word);
    launch(decode_cells<To>, blocks_of(v * ceil_div(cells, kDecodeCells), 1), kDecodeThreads, 0, on.stream, stored,
           goal, mutable_data<To>(out));
  };
  switch (to) {
    case Element::kFloat: run(float{}); break;
    case Element::kBFloat16: run(BFloat16{}); break;
    case Element::kFloat16: run(Float16{}); break;
    default: guard(false, "voxel_cache_decode: like must be float32, bfloat16 or float16");
  }
  return out;
}

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  m.impl("voxel_cache_carve", TORCH_BOX(&mirage::voxel_cache_carve));
  m.impl("voxel_cache_decode", TORCH_BOX(&mirage::voxel_cache_decode));
}
