// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "overlap/overlap_kernels.cuh"
#include "overlap/overlap_operands.h"
#include "torch/views_cuda.h"

namespace mirage {
namespace {

constexpr int64_t kBlocksWanted = 1024;  // that keep a large device busy
constexpr int64_t kMaxBlocksY = 65535;  // along y

// counts (A + 1, B) of sets a (A, W) and b (B, W), as in SetsOfBits; without a, those of b alone.
Tensor count_sets(const Tensor* a, const Tensor& b, cudaStream_t stream) {
  const int64_t num_a = a ? a->size(0) : 0, num_b = b.size(0), words = b.size(1);
  const Tensor counts = new_empty(b, {num_a + 1, num_b}, ScalarType::Long);
  fill_bytes(mutable_data<Word64>(counts), 0, (num_a + 1) * num_b * sizeof(Word64), stream);
  if (num_b * words == 0) return counts;
  const int classes = words % 2 == 0 ? 1 : 2;
  const int64_t chunks = ceil_div(words + 1, kChunk);
  guard(chunks <= kMaxBlocksY, "overlap: too many words for one call");
  const dim3 grid(blocks_of(ceil_div(num_b, classes), kSetsOfBlock) * classes, static_cast<unsigned>(chunks));
  const size_t shared = std::min<int64_t>(num_a + 1, kSetBatch) * kChunk * sizeof(Word64);
  launch(overlap_count_kernel, grid, kOverlapWarps * kWarp, shared, stream,
         SetsOfBits{a ? data<Word64>(*a) : nullptr, data<Word64>(b), num_a, num_b, words, classes,
                    mutable_data<Word64>(counts)});
  return counts;
}

struct OverlapOnCuda : CudaDevice {
  static void visible(const VisibleOperands& in) {
    const OnDevice on(in.xyz);
    const int64_t v = in.cameras.count, n = in.points.n;
    const bool grouped = in.groups.has_value();
    Word64* bits = mutable_data<Word64>(in.out);
    const int64_t bytes = in.out.numel() * static_cast<int64_t>(sizeof(Word64));
    const ViewsOnDevice views(in.cameras, 0.0f, grouped ? Fill{bits, bytes, 0} : Fill{}, on.stream);
    const PointsInViews job{in.points, views.views, v, in.words, in.cameras.h, in.cameras.w, bits};
    const int64_t blocks = blocks_of(n, 64 * kMarkWarps);
    const int64_t blocks_y = std::min(ceil_div(v, kViewBatch), std::max<int64_t>(1, kBlocksWanted / (blocks + 1)));
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(blocks_y));
    launch(grouped ? overlap_mark_visible_kernel<true> : overlap_mark_visible_kernel<false>, grid, kMarkThreads, 0,
           on.stream, job);
  }

  static void overlap(const OverlapOperands& in) {
    const OnDevice on(in.a);
    const Tensor of_a = count_sets(nullptr, in.a, on.stream);
    const Tensor counts = count_sets(&in.a, in.b, on.stream);
    launch(overlap_iou_kernel, blocks_of(in.out.numel(), kIouThreads), kIouThreads, 0, on.stream, data<int64_t>(counts),
           data<int64_t>(of_a), in.num_a, in.num_b, mutable_data<float>(in.out));
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_overlap<mirage::OverlapOnCuda>(m); }
