// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <tuple>

#include "splat/splat_cuda.h"
#include "splat/splat_kernels.cuh"
#include "torch/boxes.h"

// N points, V views, C channels, grid (h, w).
namespace mirage {

namespace {

constexpr int64_t kBlocksWanted = limit_of(1024, 16);  // that keep a large device busy
constexpr int64_t kMostBlocks = limit_of(4096, 3);     // more load the same views again and again

// Calls visit(views, number of the first) for as many views at a time as a kernel takes. Up to `columns` of its blocks
// share them: as many as have any when each takes as many as the first.
template <class Visit>
void each_group(const CamerasOnDevice& cameras, const ViewsOnDevice& views, Word64* keys, int64_t columns,
                const Visit& visit) {
  for (int64_t first = 0; first < cameras.count; first += kViewsAtOnce) {
    const int count = static_cast<int>(std::min<int64_t>(cameras.count - first, kViewsAtOnce));
    const int of_column = static_cast<int>(ceil_div(count, columns));
    visit(SomeViews{views.views.from(first), keys + first * cameras.cells(), count, of_column, cameras.h, cameras.w},
          first);
  }
}

constexpr int64_t kManyPoints = limit_of(1 << 19, 1500);  // that keep a device busy with four in a lane

template <Drawn kDrawn>
void draw_cloud(const Cloud& cloud, const CamerasOnDevice& cameras, const ViewsOnDevice& views, Word64* keys,
                cudaStream_t stream) {
  // What a warp does once for a view is shared by more points; squares and discs do more for each.
  constexpr int kMany = kDrawn == Drawn::kPoint ? 4 : kPerLane;
  const int each = cloud.n < kManyPoints ? kPerLane : kMany;
  const int64_t blocks = std::min(ceil_div(cloud.n, each * kDrawThreads), kMostBlocks);
  const int64_t columns = std::max<int64_t>(kBlocksWanted / (blocks + 1), 1);
  each_group(cameras, views, keys, columns, [&](const SomeViews& some, int64_t) {
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(ceil_div(some.count, some.of_column)));
    launch(each == kMany ? draw<kDrawn, false, kMany> : draw<kDrawn, false, kPerLane>, grid, kDrawThreads, 0, stream,
           cloud, some, PageList{});
  });
}

// Lowers keys by those points whose pages, 64 of them, a view may draw something of. Nobody waits to hear how many.
template <Drawn kDrawn>
void draw_pages(const Cloud& cloud, const PageBoxes& boxes, const CamerasOnDevice& cameras, const ViewsOnDevice& views,
                Word64* keys, cudaStream_t stream) {
  // masks of 64 bits, and behind them the pages of 32
  const Tensor pages = empty_like(views.words, {boxes.num_pages + ceil_div(boxes.num_pages, 2)}, ScalarType::Long);
  Word64* masks = mutable_data<Word64>(pages);
  const ExtentRule rule{cloud.extents ? cloud.extent : 0.0f, cloud.least_extent};
  const auto blocks = [](int64_t warps) {
    return static_cast<unsigned>(std::min(ceil_div(warps, kDrawWarps), kMostBlocks));
  };
  each_group(cameras, views, keys, 1, [&](const SomeViews& some, int64_t first) {
    const PageList list{reinterpret_cast<uint32_t*>(masks + boxes.num_pages), masks,
                        views.counts + first / kViewsAtOnce};
    launch(list_pages, blocks(boxes.num_words), kDrawThreads, 0, stream, boxes, rule, some, list);
    launch(draw<kDrawn, true, kPerLane>, blocks(boxes.num_pages), kDrawThreads, 0, stream, cloud, some, list);
  });
}

template <Drawn kDrawn>
void draw_points(const Cloud& cloud, const PageBoxes& boxes, const CamerasOnDevice& cameras, const ViewsOnDevice& views,
                 Word64* keys, cudaStream_t stream) {
  if (boxes.pages)
    draw_pages<kDrawn>(cloud, boxes, cameras, views, keys, stream);
  else
    draw_cloud<kDrawn>(cloud, cameras, views, keys, stream);
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
  const ViewsOnDevice views(cameras, cloud.radius, empty_keys(cameras, keys), on.stream);
  const auto draw = extents || cloud.extent > 0.0f ? draw_points<Drawn::kSquare>
                    : cloud.radius > 0.0f          ? draw_points<Drawn::kDisc>
                                                   : draw_points<Drawn::kPoint>;
  draw(cloud, boxes, cameras, views, keys, on.stream);
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

std::tuple<Tensor, Tensor, Tensor> splat_plain(const Tensor& xyz, const Tensor& features, const Tensor& intrinsics,
                                               const Tensor& world2cam, int64_t h, int64_t w) {
  return splat(xyz, features, intrinsics, world2cam, h, w, {}, {}, 0.0, 0.0, 0.0, {}, {}, {});
}

}  // namespace

void draw_corners(const Cloud& cloud, const CamerasOnDevice& cameras, const ViewsOnDevice& views, Word64* keys,
                  cudaStream_t stream) {
  draw_cloud<Drawn::kCorners>(cloud, cameras, views, keys, stream);
}

}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  m.impl("splat", TORCH_BOX(&mirage::splat));
  m.impl("splat.inference", TORCH_BOX(&mirage::splat));
  m.impl("splat_plain", TORCH_BOX(&mirage::splat_plain));
}
