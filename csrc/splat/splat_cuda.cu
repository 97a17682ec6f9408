// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "splat/splat_cuda.h"
#include "splat/splat_kernels.cuh"
#include "splat/splat_surface_operands.h"

namespace mirage {

namespace {

constexpr int64_t kBlocksWanted = limit_of(1024, 16);  // that keep a large device busy
constexpr int64_t kMaxBlocks = limit_of(4096, 3);     // more load the same views again and again

// Calls visit(views, number of the first) for as many views of a group at a time as a kernel takes; all groups take the
// same of theirs. Up to `columns` of its blocks divide them: as many as have any when each takes as many as the first.
template <class Visit>
void for_each_batch(const CameraTensors& cameras, const ViewsOnDevice& views, Word64* keys, int64_t of_group,
                    int64_t columns, const Visit& visit) {
  // The views of a group are loaded from the quad on in which the first one lies.
  const int64_t most = of_group < cameras.count ? kViewBatch - kQuad : kViewBatch;
  for (int64_t first = 0; first < of_group; first += most) {
    const int count = static_cast<int>(std::min<int64_t>(of_group - first, most));
    const int of_column = static_cast<int>(ceil_div(count, columns));
    visit(SomeViews{views.views, keys, first, count, of_column, cameras.h, cameras.w}, first);
  }
}

constexpr int64_t kManyPoints = limit_of(1 << 19, 1500);  // that keep a device busy with four in a lane

template <Shape kShape>
void rasterize_clouds(const Cloud& cloud, const Clouds& clouds, const CameraTensors& cameras,
                      const ViewsOnDevice& views, Word64* keys, cudaStream_t stream) {
  // More points share what a warp does once for a view; squares and discs do more for each point.
  constexpr int kMany = kShape == Shape::kPoint ? 4 : kPerLane;
  const int each = cloud.n < kManyPoints ? kPerLane : kMany;
  const int64_t of_group = clouds.views_of_group(), groups = ceil_div(cameras.count, of_group);
  const int64_t n = ceil_div(cloud.n, std::max<int64_t>(clouds.count, 1));  // that a view sees, on average
  const int64_t blocks = std::min(ceil_div(n, each * kRasterThreads), std::max<int64_t>(kMaxBlocks / groups, 1));
  const int64_t columns = std::max<int64_t>(kBlocksWanted / (blocks * groups + 1), 1);
  for_each_batch(cameras, views, keys, of_group, columns, [&](const SomeViews& some, int64_t) {
    const dim3 grid(static_cast<unsigned>(blocks * groups),
                    static_cast<unsigned>(ceil_div(some.count, some.of_column)));
    launch(
        each == kMany ? splat_rasterize_kernel<kShape, false, kMany> : splat_rasterize_kernel<kShape, false, kPerLane>,
        grid, kRasterThreads, 0, stream, cloud, clouds, static_cast<unsigned>(blocks), some, LeafList{});
  });
}

// Rasterizes the points of those leaves of 64 that a view may see. How many there are stays on the device.
template <Shape kShape>
void rasterize_leaves(const Cloud& cloud, const Clouds& clouds, const BoxPyramid& boxes, const CameraTensors& cameras,
                      const ViewsOnDevice& views, Word64* keys, cudaStream_t stream) {
  // masks of 64 bits, and behind them the leaves of 32
  const Tensor leaves = new_empty(views.words, {boxes.size0 + ceil_div(boxes.size0, 2)}, ScalarType::Long);
  Word64* masks = mutable_data<Word64>(leaves);
  const ExtentRule rule{cloud.extents ? cloud.extent : 0.0f, cloud.min_extent};
  const auto blocks = [](int64_t warps) {
    return static_cast<unsigned>(std::min(ceil_div(warps, kRasterWarps), kMaxBlocks));
  };
  for_each_batch(cameras, views, keys, cameras.count, 1, [&](const SomeViews& some, int64_t first) {
    const LeafList list{reinterpret_cast<uint32_t*>(masks + boxes.size0), masks, views.counts + first / kViewBatch};
    launch(splat_list_leaves_kernel, blocks(boxes.size1), kRasterThreads, 0, stream, boxes, rule, some, list);
    launch(splat_rasterize_kernel<kShape, true, kPerLane>, blocks(boxes.size0), kRasterThreads, 0, stream, cloud,
           clouds, blocks(boxes.size0), some, list);
  });
}

template <Shape kShape>
void rasterize_points(const SplatPoints& points, const CameraTensors& cameras, const ViewsOnDevice& views, Word64* keys,
                      cudaStream_t stream) {
  if (points.boxes.level0)
    rasterize_leaves<kShape>(points, points.clouds, points.boxes, cameras, views, keys, stream);
  else
    rasterize_clouds<kShape>(points, points.clouds, cameras, views, keys, stream);
}

struct SplatOnCuda : CudaDevice {
  static void splat(const SplatOperands& in) {
    if (in.cameras.count == 0) return;
    const OnDevice on(in.xyz);
    const SplatPoints& points = in.points;
    Word64* keys = mutable_data<Word64>(in.index);  // in place
    const ViewsOnDevice views(in.cameras, points.radius, init_zbuffer(in.cameras, keys), on.stream);
    const auto rasterize = points.shape == Shape::kSquare ? rasterize_points<Shape::kSquare>
                           : points.shape == Shape::kDisc ? rasterize_points<Shape::kDisc>
                                                          : rasterize_points<Shape::kPoint>;
    rasterize(points, in.cameras, views, keys, on.stream);
    with_word(in.features.scalar_type(), [&](auto word) {
      using Word = decltype(word);
      const int64_t c = in.channels(), cells = in.cameras.cells();
      const Features f = plan_tiles<Word>(c, data<Word>(in.out), cells, data<Word>(in.features), c);
      launch(splat_resolve_kernel<Word>, blocks_of(in.cameras.count * ceil_div(cells, kTileCells), 1), kTileThreads,
             bytes_of_tile<Word>(f), on.stream, f, cells, points.clouds, data<Word>(in.features),
             mutable_data<uint64_t>(in.index), mutable_data<float>(in.depth), mutable_data<Word>(in.out));
    });
  }

  static void composite(const Tensor& like, const SurfaceJob& job) {
    const OnDevice on(like);
    launch(splat_composite_surface_kernel, blocks_of(job.n, kSurfaceThreads), kSurfaceThreads, 0, on.stream, job);
  }
};

}  // namespace

void rasterize_corners(const SplatPoints& points, const CameraTensors& cameras, const ViewsOnDevice& views,
                       Word64* keys, cudaStream_t stream) {
  rasterize_clouds<Shape::kCorners>(points, points.clouds, cameras, views, keys, stream);
}

}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  mirage::register_splat<mirage::SplatOnCuda>(m);
  mirage::register_splat_surface<mirage::SplatOnCuda>(m);
}
