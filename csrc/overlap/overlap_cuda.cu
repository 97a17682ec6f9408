// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "overlap/overlap_kernels.cuh"
#include "torch/views_cuda.h"

namespace mirage {
namespace {

constexpr int64_t kBlocksWanted = 1024;  // that keep a large device busy
constexpr int64_t kMostBlocksAside = 65535;  // along y

Tensor visible(const Tensor& xyz, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w,
               OptionalTensor valid, OptionalTensor groups, int64_t num_groups) {
  const int64_t n = xyz.size(0), v = world2cam.size(0);
  guard(num_groups >= 0 && (groups || num_groups == n), "visible: bad number of groups");
  guard_device(xyz, {&intrinsics, &world2cam, pointer_to(valid), pointer_to(groups)});
  const Tensor points = expect(xyz, ScalarType::Float, {n, 3}, "visible: xyz must be float32 (N, 3)");
  const CamerasOnDevice cameras(intrinsics, world2cam, h, w);
  valid = expect(valid, ScalarType::Bool, {n}, "visible: valid must be bool (N,)");
  groups = expect(groups, ScalarType::Long, {n}, "visible: groups must be int64 (N,)");

  const int64_t words = ceil_div(num_groups, 64);
  const Tensor out = empty_like(xyz, {v, words}, ScalarType::Long);
  if (v * words == 0) return out;
  const OnDevice on(xyz);
  Word64* bits = mutable_data<Word64>(out);
  const int64_t bytes = v * words * static_cast<int64_t>(sizeof(Word64));
  const ViewsOnDevice views(cameras, 0.0f, groups ? Fill{bits, bytes, 0} : Fill{}, on.stream);
  const PointsInViews job{data<float>(points), data<uint8_t>(valid), data<int64_t>(groups), views.views, n, num_groups,
                          v, words, cameras.h, cameras.w, bits};
  const int64_t blocks = blocks_of(n, 64 * kSeeWarps);
  const int64_t aside = std::min(ceil_div(v, kViewsAtOnce), std::max<int64_t>(1, kBlocksWanted / (blocks + 1)));
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(aside));
  launch(groups ? see_points<true> : see_points<false>, grid, kSeeThreads, 0, on.stream, job);
  return out;
}

// counts (A + 1, B) of sets a (A, W) and b (B, W), as in SetsOfBits; without a, those of b alone.
Tensor count_sets(const Tensor* a, const Tensor& b, cudaStream_t stream) {
  const int64_t num_a = a ? a->size(0) : 0, num_b = b.size(0), words = b.size(1);
  const Tensor counts = empty_like(b, {num_a + 1, num_b}, ScalarType::Long);
  fill_bytes(mutable_data<Word64>(counts), 0, (num_a + 1) * num_b * sizeof(Word64), stream);
  if (num_b * words == 0) return counts;
  const int classes = words % 2 == 0 ? 1 : 2;
  const int64_t chunks = ceil_div(words + 1, kChunk);
  guard(chunks <= kMostBlocksAside, "overlap: too many words for one call");
  const dim3 grid(blocks_of(ceil_div(num_b, classes), kSetsOfBlock) * classes, static_cast<unsigned>(chunks));
  const size_t shared = std::min<int64_t>(num_a + 1, kSetsAtOnce) * kChunk * sizeof(Word64);
  launch(count_common, grid, kOverlapWarps * kWarp, shared, stream,
         SetsOfBits{a ? data<Word64>(*a) : nullptr, data<Word64>(b), num_a, num_b, words, classes,
                    mutable_data<Word64>(counts)});
  return counts;
}

Tensor overlap(const Tensor& a, const Tensor& b) {
  const int64_t num_a = a.size(0), num_b = b.size(0), words = a.size(-1);
  guard_device(a, {&b});
  const Tensor rows = expect(a, ScalarType::Long, {num_a, words}, "overlap: a must be int64 (A, W)");
  const Tensor columns = expect(b, ScalarType::Long, {num_b, words}, "overlap: b must be int64 (B, W)");
  const Tensor out = empty_like(a, {num_a, num_b}, ScalarType::Float);
  if (num_a * num_b == 0) return out;
  const OnDevice on(a);
  const Tensor of_a = count_sets(nullptr, rows, on.stream);
  const Tensor counts = count_sets(&rows, columns, on.stream);
  launch(share, blocks_of(num_a * num_b, kShareThreads), kShareThreads, 0, on.stream, data<int64_t>(counts),
         data<int64_t>(of_a), num_a, num_b, mutable_data<float>(out));
  return out;
}

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  m.impl("visible", TORCH_BOX(&mirage::visible));
  m.impl("overlap", TORCH_BOX(&mirage::overlap));
}
