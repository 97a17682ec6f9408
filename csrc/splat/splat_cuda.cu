// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <tuple>

#include "splat/splat_cuda.h"

// N points, V views, C channels, grid (h, w).
namespace mirage {
namespace {

// Lowers keys by those points whose pages, 64 of them, a view may draw something of. Nobody waits to hear how many.
template <Drawn kDrawn>
void draw_pages(const Cloud& cloud, const PageBoxes& boxes, const CamerasOnDevice& cameras, const Armed& armed,
                Word64* keys, cudaStream_t stream) {
  const int64_t cells = static_cast<int64_t>(cameras.h) * cameras.w;
  const Tensor pages = empty_like(armed.views_of, {boxes.num_pages}, ScalarType::Int);
  const Tensor masks = empty_like(armed.views_of, {boxes.num_pages}, ScalarType::Long);
  const ExtentRule rule{cloud.extents ? cloud.extent : 0.0f, cloud.least_extent};
  const auto blocks = [](int64_t warps) {
    return static_cast<unsigned>(std::min(ceil_div(warps, kDrawWarps), kMostBlocks));
  };
  for (int64_t first = 0; first < cameras.count; first += kViewsAtOnce) {
    const int count = static_cast<int>(std::min<int64_t>(cameras.count - first, kViewsAtOnce));
    const SomeViews some{armed.views + first, keys + first * cells, count, cameras.h, cameras.w};
    const PageList list{mutable_data<uint32_t>(pages), mutable_data<Word64>(masks), armed.counts + first / kViewsAtOnce};
    launch(list_pages, blocks(boxes.num_words), kDrawThreads, 0, stream, boxes, rule, some, list);
    launch(draw<kDrawn, true>, blocks(boxes.num_pages), kDrawThreads, 0, stream, cloud, some, list);
  }
}

template <Drawn kDrawn>
void draw_points(const Cloud& cloud, const PageBoxes& boxes, const CamerasOnDevice& cameras, const Armed& armed,
                 Word64* keys, cudaStream_t stream) {
  if (boxes.pages)
    draw_pages<kDrawn>(cloud, boxes, cameras, armed, keys, stream);
  else
    draw_cloud<kDrawn>(cloud, cameras, armed, keys, stream);
}

std::tuple<Tensor, Tensor, Tensor> splat(const Tensor& xyz, const Tensor& features, const Tensor& intrinsics,
                                         const Tensor& world2cam, int64_t h, int64_t w, OptionalTensor valid,
                                         OptionalTensor extents, double extent, double least_extent, double radius,
                                         const OptionalTensor& boxes0, const OptionalTensor& boxes1,
                                         const OptionalTensor& boxes2) {
  const int64_t n = xyz.size(0), c = features.size(-1);
  guard(n <= UINT32_MAX, "splat: more than 2^32 - 1 points");
  guard(radius >= 0 && radius <= kMostRadius, "splat: radius must be 0 to 2^24");
  guard_device(xyz, {&features, &intrinsics, &world2cam, pointer_to(valid), pointer_to(extents), pointer_to(boxes0),
                     pointer_to(boxes1), pointer_to(boxes2)});
  const Tensor dense_xyz = expect(xyz, ScalarType::Float, {n, 3}, "splat: xyz must be float32 (N, 3)");
  const Tensor rows = expect(features, features.scalar_type(), {n, c}, "splat: features must be (N, C)");
  const CamerasOnDevice cameras(intrinsics, world2cam, h, w);
  valid = expect(valid, ScalarType::Bool, {n}, "splat: valid must be bool (N,)");
  extents = expect(extents, ScalarType::Float, {n}, "splat: extents must be float32 (N,)");
  guard(boxes0.has_value() == boxes1.has_value() && boxes0.has_value() == boxes2.has_value(),
        "splat: boxes must come in three levels");
  guard(!boxes0 || extents || !(extent > 0.0), "splat: boxes know no extent that is the same for all");
  const PageBoxes boxes = boxes0 ? load_boxes(*boxes0, *boxes1, *boxes2, n) : PageBoxes{};

  const int64_t v = cameras.count;
  const Tensor out = empty_like(features, {v, c, h, w}, features.scalar_type());
  const Tensor depth = empty_like(xyz, {v, h, w}, ScalarType::Float);
  const Tensor index = empty_like(xyz, {v, h, w}, ScalarType::Long);
  if (v == 0) return {out, depth, index};
  const OnDevice on(xyz);
  const Cloud cloud{data<float>(dense_xyz), data<uint8_t>(valid), data<float>(extents), static_cast<float>(extent),
                    static_cast<float>(least_extent), static_cast<float>(radius), n};
  Word64* keys = mutable_data<Word64>(index);  // in place
  const Armed armed = arm_views(cameras, cloud.radius, keys, on.stream);
  const auto draw = extents || cloud.extent > 0.0f ? draw_points<Drawn::kSquare>
                    : cloud.radius > 0.0f          ? draw_points<Drawn::kDisc>
                                                   : draw_points<Drawn::kPoint>;
  draw(cloud, boxes, cameras, armed, keys, on.stream);
  const auto finish = [&](auto word) {
    using Word = decltype(word);
    const Features f = plan_tiles<Word>(c, data<Word>(out), h * w, data<Word>(rows), c);
    launch(resolve<Word>, blocks_of(v * ceil_div(h * w, kTileCells), 1), kTileThreads, bytes_of_tile<Word>(f),
           on.stream, f, h * w, data<Word>(rows), mutable_data<int64_t>(index), mutable_data<float>(depth),
           mutable_data<Word>(out));
  };
  switch (features.element_size()) {
    case 2: finish(uint16_t{}); break;
    case 4: finish(uint32_t{}); break;
    default: guard(false, "splat: features must be float32, bfloat16 or float16");
  }
  return {out, depth, index};
}

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  m.impl("splat", TORCH_BOX(&mirage::splat));
  m.impl("splat.inference", TORCH_BOX(&mirage::splat));
}
