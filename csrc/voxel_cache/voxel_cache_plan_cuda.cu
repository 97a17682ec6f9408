// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "torch/cub.h"
#include "torch/pinned.h"
#include "voxel_cache/voxel_cache_cuda.h"
#include "voxel_cache/voxel_cache_plan_kernels.cuh"

// Which point goes into which row: sort the points by voxel, look every voxel up, count; then, once the host knows how
// many there are, write the plan. The state does not change.
namespace mirage {
namespace {

// All 64 bits of a code are sorted by: to find out which of them differ, the host would have to wait once more.
constexpr int kCodeBits = 64;
constexpr int64_t kFewPoints = limit_of(1 << 16,
                                        3 * kTile);  // beyond, CUB's passes cost less than a search in every tile

class Plan {
 public:
  Plan(const Tensor& like, const CachePoints& points, int64_t n, Fusion fusion, const HeldRows& held)
      : like_(like), points_(points), n_(n), fusion_(fusion), held_(held),
        num_tiles_(std::max<int64_t>(1, ceil_div(n, kTile))), room_(num_tiles_ * kTile),
        words_(new_empty(like, {2 * room_ + 3 * room_ / 2 + 3 * num_tiles_ + 1}, ScalarType::Long)), on_(like) {}

  Planned run() {
    sort();
    const PlanCounts counts = mark();
    const int64_t k = static_cast<int64_t>(counts.kept), s = static_cast<int64_t>(counts.segments);
    const Tensor words = new_empty(like_, {plan_words(k, s)}, ScalarType::Long);
    launch(voxel_cache_plan_kernel, std::max(1u, blocks_of(k, kTile)), kTileWarps * kWarp, 0, on_.stream, sorted_, k, s,
           points_, fusion_, held_, found(), tiles(), split_plan(mutable_data<int64_t>(words), s));
    return {words, static_cast<int64_t>(counts.added), static_cast<int64_t>(counts.rejected), k, s};
  }

 private:
  // The workspace: two arrays of codes, three of indices of 32 bits, three of words for each tile, and one word.
  Word64* codes() const { return mutable_data<Word64>(words_); }
  uint32_t* indices() const { return reinterpret_cast<uint32_t*>(codes() + 2 * room_); }
  int32_t* found() const { return reinterpret_cast<int32_t*>(indices() + 2 * room_); }
  Word64* of_tiles() const { return codes() + 2 * room_ + 3 * room_ / 2; }
  Tiles tiles() const { return {of_tiles(), of_tiles() + num_tiles_}; }
  CountsOfTiles counts() const {
    Word64* first = of_tiles() + 2 * num_tiles_;
    return {first, reinterpret_cast<unsigned*>(first + num_tiles_)};
  }

  void sort() {
    if (n_ == 0) return;
    const KeyedValues<Word64> pairs{codes(), indices()}, spare{codes() + room_, indices() + room_};
    if (n_ <= kFewPoints) {
      launch(voxel_cache_sort_tiles_kernel, blocks_of(n_, kTile), kTile, 0, on_.stream, points_, n_, pairs.keys,
             pairs.values, counts());
      launch(voxel_cache_merge_tiles_kernel, blocks_of(room_, kRankThreads), kRankThreads, 0, on_.stream, pairs.keys,
             pairs.values, num_tiles_, n_, spare.keys, spare.values);
      sorted_ = {spare.keys, spare.values, n_};
      return;
    }
    launch(voxel_cache_encode_kernel, blocks_of(n_, kTile), kTile, 0, on_.stream, points_, n_, pairs.keys, pairs.values,
           counts());
    const KeyedValues<Word64> sorted = sort_pairs(like_, pairs, spare, n_, kCodeBits, on_.stream);
    sorted_ = {sorted.keys, sorted.values, n_};
  }

  PlanCounts mark() const {
    if (n_ == 0) return {};
    const float* ranked = fusion_ == Fusion::kLatest ? nullptr : points_.footprint;
    Pinned<PlanCounts> result;
    launch(voxel_cache_mark_kernel, blocks_of(n_, kTile), kTileWarps * kWarp, 0, on_.stream, sorted_, held_, ranked,
           found(), tiles(), counts(), result.of_device());
    return result.wait(on_.stream);
  }

  const Tensor& like_;
  const CachePoints& points_;
  int64_t n_;
  Fusion fusion_;
  HeldRows held_;
  int64_t num_tiles_, room_;  // whole tiles
  Tensor words_;
  OnDevice on_;
  SortedPoints sorted_{};
};

}  // namespace

Planned VoxelCacheOnCuda::plan(const PlanOperands& in) {
  return Plan(in.xyz, in.points, in.n, in.fusion, in.held).run();
}

}  // namespace mirage
