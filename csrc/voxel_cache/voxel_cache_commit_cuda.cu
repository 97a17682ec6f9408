// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <bit>

#include "torch/cuda.h"
#include "voxel_cache/voxel_cache_cuda.h"
#include "voxel_cache/voxel_cache_feature_kernels.cuh"

// Writing what was planned, and the table and boxes over the rows. K points in S segments, R rows, C channels.
namespace mirage {
namespace {

struct Boxes {
  const Tensor* of[kLevels];
};

RowsOfCache load_rows(const Tensor& keys, const Tensor& xyz, const Tensor& footprint, const Tensor& table,
                      const Boxes& boxes) {
  RowsOfCache rows{};
  rows.limit = keys.size(0);
  rows.slots = static_cast<uint64_t>(table.numel());
  guard_device(keys, {&xyz, &footprint, &table, boxes.of[0], boxes.of[1], boxes.of[2]});
  guard(rows.limit <= INT32_MAX, "voxel_cache: too many rows");
  expect_state(keys, ScalarType::Long, {rows.limit}, "voxel_cache: keys must be int64 (R,)");
  expect_state(xyz, ScalarType::Float, {rows.limit, 3}, "voxel_cache: xyz must be float32 (R, 3)");
  expect_state(footprint, ScalarType::Float, {rows.limit}, "voxel_cache: footprint must be float32 (R,)");
  expect_state(table, ScalarType::Int, {-1}, "voxel_cache: table must be int32 (T,)");
  guard(rows.slots >= 64 && std::has_single_bit(rows.slots), "voxel_cache: bad size of table");
  rows.keys = mutable_data<int64_t>(keys);
  rows.xyz = mutable_data<float>(xyz);
  rows.footprint = mutable_data<float>(footprint);
  rows.table = mutable_data<int32_t>(table);
  float** levels[kLevels] = {&rows.pages, &rows.words, &rows.tops};
  for (int64_t level = 0, size = rows.limit; level < kLevels; ++level) {
    size = ceil_div(size, kPage);
    const Tensor& of_level = *boxes.of[level];
    expect_state(of_level, ScalarType::Float, {size, kFields}, "voxel_cache: boxes must be (ceil(R / 64^l), 7)");
    *levels[level] = mutable_data<float>(of_level);
  }
  return rows;
}

template <class T>
bool aligned_to(const void* at) {
  return reinterpret_cast<uintptr_t>(at) % alignof(T) == 0;
}

template <class Run>
void with_float(Element element, const Run& run) {
  switch (element) {
    case Element::kBFloat16: run(BFloat16{}); break;
    case Element::kFloat16: run(Float16{}); break;
    case Element::kFloat: run(float{}); break;
    default: guard(false, "voxel_cache_commit: features must be float32, bfloat16 or float16");
  }
}

class FeatureWriter {
 public:
  FeatureWriter(const Segments& plan, const Tensor& features, const Tensor& rows, cudaStream_t stream)
      : goals_{plan, features.size(0), rows.size(0), 0}, channels_(features.size(1)),
        element_(element_of(features.scalar_type())), from_(data<char>(features)), to_(mutable_data<char>(rows)),
        stream_(stream) {
    guard(channels_ <= INT32_MAX / (4 * kSegmentsOfBlock), "voxel_cache_commit: too many channels");
  }

  void copy() {
    const int64_t bytes = channels_ * size_of(element_);
    if (bytes % sizeof(uint4) == 0 && aligned_to<uint4>(from_) && aligned_to<uint4>(to_))
      copy_as<uint4>(bytes);
    else if (element_ == Element::kFloat)
      copy_as<uint32_t>(bytes);
    else
      copy_as<uint16_t>(bytes);
  }

  void add(int64_t used) {
    with_float(element_, [&](auto type) {
      using T = decltype(type);
      constexpr int wide = sizeof(uint4) / sizeof(T);
      if (channels_ % wide == 0 && aligned_to<PieceOf<T, wide>>(from_) && aligned_to<PieceOf<float, wide>>(to_))
        add_as<T, wide>(used);
      else
        add_as<T, 1>(used);
    });
  }

  void quantise(float* scales) {
    with_float(element_, [&](auto type) {
      using T = decltype(type);
      launch(quantise_features<T>, blocks_of(goals_.plan.count, kFeatureThreads / kWarp), kFeatureThreads, 0, stream_,
             goals_, channels_, reinterpret_cast<const T*>(from_), reinterpret_cast<int8_t*>(to_), scales);
    });
  }

 private:
  Goals goals_of(int64_t pieces) const {
    Goals goals = goals_;
    goals.pieces = static_cast<uint32_t>(pieces);
    return goals;
  }

  unsigned blocks() const { return blocks_of(channels_ == 0 ? 0 : goals_.plan.count, kSegmentsOfBlock); }

  template <class Piece>
  void copy_as(int64_t bytes) {
    launch(copy_features<Piece>, blocks(), kFeatureThreads, 0, stream_, goals_of(bytes / sizeof(Piece)),
           reinterpret_cast<const Piece*>(from_), reinterpret_cast<Piece*>(to_));
  }

  template <class T, int kWords>
  void add_as(int64_t used) {
    launch(add_features<T, kWords>, blocks(), kFeatureThreads, 0, stream_, goals_of(channels_ / kWords), used,
           reinterpret_cast<const PieceOf<T, kWords>*>(from_), reinterpret_cast<float*>(to_));
  }

  Goals goals_;
  int64_t channels_;
  Element element_;
  const char* from_;
  char* to_;
  cudaStream_t stream_;
};

}  // namespace

namespace cuda {

void commit_insert(const Tensor& plan, int64_t kept, int64_t segments, const InsertedPoints& points,
                   const CacheState& state, const InsertRule& rule) {
  guard_device(state.keys, {&plan, &points.xyz, pointer_to(points.footprint), &points.features, &state.features,
                            pointer_to(state.scale), pointer_to(state.count), &state.stamp});
  const CommitOperands in(plan, kept, segments, points, state, rule);
  const RowsOfCache rows = load_rows(state.keys, state.xyz, state.footprint, state.table,
                                     {&state.boxes0, &state.boxes1, &state.boxes2});
  const OnDevice on(state.keys);
  const Segments to_write{in.arrays, kept, segments};
  const Observations seen{data<float>(in.xyz), data<float>(in.footprint), in.xyz.size(0),
                          static_cast<float>(rule.default_footprint),
                          state.count ? mutable_data<int32_t>(*state.count) : nullptr,
                          mutable_data<int64_t>(state.stamp), rule.stamp, state.rows};
  launch(write_rows, blocks_of(segments, kRowThreads), kRowThreads, 0, on.stream, to_write, seen, rows);
  FeatureWriter writer(to_write, in.features, state.features, on.stream);
  if (in.mean)
    writer.add(state.rows);
  else if (state.scale)
    writer.quantise(mutable_data<float>(*state.scale));
  else
    writer.copy();
}

}  // namespace cuda

namespace {

void voxel_cache_index(const Tensor& keys, const Tensor& xyz, const Tensor& footprint, const Tensor& table,
                       const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows) {
  const Boxes levels{&boxes0, &boxes1, &boxes2};
  const RowsOfCache state = load_rows(keys, xyz, footprint, table, levels);
  guard(rows >= 0 && rows <= state.limit, "voxel_cache_index: rows must be within capacity");
  guard(static_cast<uint64_t>(rows) <= state.slots, "voxel_cache_index: the table is full");
  const OnDevice on(keys);
  fill_bytes(state.table, 0xff, state.slots * sizeof(int32_t), on.stream);
  for (const Tensor* boxes : levels.of)
    launch(clear_boxes, blocks_of(boxes->numel(), kRowThreads), kRowThreads, 0, on.stream, mutable_data<float>(*boxes),
           boxes->size(0));
  launch(index_rows, blocks_of(rows, kRowThreads), kRowThreads, 0, on.stream, state, rows);
}

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  using namespace mirage::cuda;
  m.impl("voxel_cache_insert", TORCH_BOX((&mirage::voxel_cache_insert<plan_insert, commit_insert>)));
  m.impl("voxel_cache_commit", TORCH_BOX(&mirage::voxel_cache_commit<commit_insert>));
  m.impl("voxel_cache_index", TORCH_BOX(&mirage::voxel_cache_index));
}
