// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "torch/cuda.h"
#include "voxel_cache/voxel_cache_cuda.h"
#include "voxel_cache/voxel_cache_feature_kernels.cuh"

// Launches the kernels that write what was planned.
namespace mirage {
namespace {

template <class T>
bool aligned_to(const void* at) {
  return reinterpret_cast<uintptr_t>(at) % alignof(T) == 0;
}

class FeatureWriter {
 public:
  FeatureWriter(const CommitOperands& in, cudaStream_t stream)
      : targets_{in.segments, in.observations.points, in.rows.limit, 0}, channels_(in.channels()),
        element_(element_of(in.features.scalar_type())), from_(data<char>(in.features)),
        to_(static_cast<char*>(in.features_rows)), stream_(stream) {
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

  void add(const Observations& rows) {
    with_float(element_, [&](auto type) {
      using T = decltype(type);
      constexpr int vector = sizeof(uint4) / sizeof(T);
      if (channels_ % vector == 0 && aligned_to<PieceOf<T, vector>>(from_) && aligned_to<PieceOf<float, vector>>(to_))
        add_as<T, vector>(rows);
      else
        add_as<T, 1>(rows);
    });
  }

  void quantize(float* scales) {
    with_float(element_, [&](auto type) {
      using T = decltype(type);
      launch(voxel_cache_quantize_kernel<T>, blocks_of(targets_.plan.count, kFeatureThreads / kWarp), kFeatureThreads,
             0, stream_, targets_, channels_, reinterpret_cast<const T*>(from_), reinterpret_cast<int8_t*>(to_),
             scales);
    });
  }

 private:
  WriteTargets targets_of(int64_t pieces) const {
    WriteTargets targets = targets_;
    targets.pieces = static_cast<uint32_t>(pieces);
    return targets;
  }

  unsigned blocks() const { return blocks_of(channels_ == 0 ? 0 : targets_.plan.count, kSegmentsOfBlock); }

  template <class Piece>
  void copy_as(int64_t bytes) {
    launch(voxel_cache_copy_kernel<Piece>, blocks(), kFeatureThreads, 0, stream_, targets_of(bytes / sizeof(Piece)),
           reinterpret_cast<const Piece*>(from_), reinterpret_cast<Piece*>(to_));
  }

  template <class T, int kWords>
  void add_as(const Observations& rows) {
    launch(voxel_cache_sum_kernel<T, kWords>, blocks(), kFeatureThreads, 0, stream_, targets_of(channels_ / kWords),
           rows.used, rows.count, reinterpret_cast<const PieceOf<T, kWords>*>(from_), reinterpret_cast<float*>(to_));
  }

  WriteTargets targets_;
  int64_t channels_;
  Element element_;
  const char* from_;
  char* to_;
  cudaStream_t stream_;
};

}  // namespace

void VoxelCacheOnCuda::commit(const CommitOperands& in) {
  const OnDevice on(in.xyz);
  FeatureWriter writer(in, on.stream);
  if (in.mean)
    writer.add(in.observations);  // before the counts change
  else if (in.scale)
    writer.quantize(in.scale);
  else
    writer.copy();
  launch(voxel_cache_write_kernel, blocks_of(in.segments.count, kRowThreads), kRowThreads, 0, on.stream, in.segments,
         in.observations, in.rows);
}

void VoxelCacheOnCuda::index(const Tensor& keys, const RowsOfCache& state, int64_t rows) {
  const OnDevice on(keys);
  fill_bytes(state.table, 0xff, state.slots * sizeof(int32_t), on.stream);
  for (int level = 0; level < kBoxLevels; ++level) {
    const int64_t boxes = state.num_boxes(level);
    launch(voxel_cache_clear_boxes_kernel, blocks_of(boxes * kBoxFields, kRowThreads), kRowThreads, 0, on.stream,
           reinterpret_cast<float*>(state.level(level)), boxes);
  }
  launch(voxel_cache_index_kernel, blocks_of(rows, kRowThreads), kRowThreads, 0, on.stream, state, rows);
}

}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_voxel_cache<mirage::VoxelCacheOnCuda>(m); }
