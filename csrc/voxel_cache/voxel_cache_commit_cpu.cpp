// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>

#include "torch/parallel.h"
#include "voxel_cache/voxel_cache_cpu.h"
#include "voxel_cache/voxel_cache_isa.h"

// Writes what was planned, and the table and boxes of the rows. K points in S segments, R rows, C channels.
namespace mirage {
namespace {

constexpr int64_t kBlock = 256;  // segments or rows
constexpr int64_t kPrefetchDistance = 8;  // points

struct Rows : RowsOfCache {
  // Enters rows first, first + 1, ... with these keys, at most kBlock of them. False when the table is full.
  bool enter(const int64_t* some_keys, int64_t first, int64_t count) const {
    uint64_t homes[kBlock];
    MIRAGE_KERNELS(voxel_cache_kernels).find_homes(some_keys, count, slots, homes);
    for (int64_t k = 0; k < count; ++k) __builtin_prefetch(table + homes[k], 1);
    bool ok = true;
    for (int64_t k = 0; k < count; ++k) ok &= enter_row(table, slots, static_cast<int32_t>(first + k), homes[k]);
    return ok;
  }

  // Grows the boxes of all levels by rows [first, last). A box holds all of those below it, so the leaves will do.
  void bound(int64_t first, int64_t last) const {
    if (first >= last) return;
    parallel_for(first / kFanout, ceil_div(last, kFanout), 128, [&](int64_t begin, int64_t end) {
      for (int64_t leaf = begin; leaf < end; ++leaf) {
        const int64_t from = std::max(first, leaf * kFanout), to = std::min(last, (leaf + 1) * kFanout);
        MIRAGE_KERNELS(voxel_cache_kernels).bound(xyz + 3 * from, footprint + from, to - from, level0 + leaf);
      }
    });
    for (int above = 1; above < kBoxLevels; ++above) {
      first /= kFanout;
      last = ceil_div(last, kFanout);
      for (int64_t b = first; b < last; ++b) grow(level(above)[b / kFanout], level(above - 1)[b]);
    }
  }

  void bound(int64_t row) const {
    grow(level0[row / kFanout], xyz + 3 * row, footprint[row]);
    grow(level1[row / (kFanout * kFanout)], xyz + 3 * row, footprint[row]);
    grow(level2[row / (kFanout * kFanout * kFanout)], xyz + 3 * row, footprint[row]);
  }
};

class Writer {
 public:
  explicit Writer(const CommitOperands& in)
      : plan_(in.segments), in_(in.observations), rows_{in.rows}, used_(in.observations.used),
        features_(data<char>(in.features)), channels_(in.channels()), element_(element_of(in.features.scalar_type())),
        features_rows_(static_cast<char*>(in.features_rows)), scale_(in.scale) {}

  // Writes all segments, and enters the new ones into the table meanwhile. False if the plan does not fit the state.
  bool run() {
    const int64_t blocks = ceil_div(plan_.count, kBlock);
    const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), blocks);
    std::atomic<int64_t> next{-1};  // the table is one task, because rows enter it in order
    std::atomic<bool> ok{true};
    parallel_for(0, std::max<int64_t>(threads, 1), 1, [&](int64_t, int64_t) {
      for (int64_t task = next++; task < blocks; task = next++) {
        const int64_t begin = task * kBlock;
        const bool fine = task < 0 ? enter_new() : write(begin, std::min(plan_.count, begin + kBlock));
        if (!fine) ok = false;
      }
    });
    return ok;
  }

  // Grows the boxes by what was written.
  void bound() const {
    int64_t last = used_;
    for (int64_t s = 0; s < plan_.count; ++s) {
      const int64_t row = plan_.row[s];
      if (row >= used_) {
        ++last;
      } else if (plan_.winner[s] >= 0) {
        rows_.bound(row);
      }
    }
    rows_.bound(used_, last);
  }

 private:
  bool enter_new() const {
    int64_t keys[kBlock];
    int64_t first = used_, count = 0;
    bool ok = true;
    for (int64_t s = 0; s < plan_.count; ++s) {
      if (plan_.row[s] < used_) continue;
      ok &= plan_.row[s] == first + count && plan_.row[s] < rows_.limit;
      keys[count++] = plan_.key[s];
      if (count < kBlock) continue;
      ok &= rows_.enter(keys, first, count);
      first += count;
      count = 0;
    }
    return rows_.enter(keys, first, count) && ok;
  }

  bool write(int64_t begin, int64_t end) const {
    int32_t from[kBlock], to[kBlock];
    int64_t n = 0;
    bool ok = true;
    for (int64_t s = begin; s < end; ++s) {
      const int64_t row = plan_.row[s], point = plan_.winner[s];
      const bool fits = fits_state(row, point, rows_.limit, in_.points);
      ok &= fits;
      if (!fits) continue;
      if (row >= used_) rows_.keys[row] = plan_.key[s];
      if (in_.count) ok &= add(s, row);
      if (in_.count || point >= 0) in_.stamp_rows[row] = in_.stamp;
      if (point < 0) continue;
      from[n] = static_cast<int32_t>(point);
      to[n++] = static_cast<int32_t>(row);
    }
    for (int64_t k = 0; k < n; ++k) __builtin_prefetch(in_.xyz + 3 * from[k]);
    for (int64_t k = 0; k < n; ++k) __builtin_memcpy(rows_.xyz + 3 * to[k], in_.xyz + 3 * from[k], 3 * sizeof(float));
    for (int64_t k = 0; k < n; ++k)
      rows_.footprint[to[k]] = in_.footprint ? in_.footprint[from[k]] : in_.default_footprint;
    if (!in_.count) replace(from, to, n);
    return ok;
  }

  void replace(const int32_t* from, const int32_t* to, int64_t n) const {
    const VoxelCacheKernels& kernels = MIRAGE_KERNELS(voxel_cache_kernels);
    const int64_t bytes = channels_ * size_of(element_);
    if (!scale_) {
      kernels.copy_rows(features_, from, features_rows_, to, n, bytes);
      return;
    }
    for (int64_t k = 0; k < n; ++k) {
      int8_t* row = reinterpret_cast<int8_t*>(features_rows_) + to[k] * channels_;
      scale_[to[k]] = kernels.quantize(element_, features_ + from[k] * bytes, channels_, row);
    }
  }

  // The points of a voxel lie anywhere in memory.
  void prefetch(int64_t point, int64_t bytes) const {
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(features_ + point * bytes + at);
  }

  // Adds the points of a segment to its row.
  bool add(int64_t s, int64_t row) const {
    const int64_t begin = plan_.starts[s], end = plan_.starts[s + 1], bytes = channels_ * size_of(element_);
    if (begin < 0 || begin >= end || end > plan_.kept) return false;
    const bool is_new = row >= used_;
    float* sum = reinterpret_cast<float*>(features_rows_) + row * channels_;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t point = plan_.order[i];
      if (point < 0 || point >= in_.points) return false;
      prefetch(plan_.order[std::min(i + kPrefetchDistance, plan_.kept - 1)], bytes);
    }
    int64_t count = is_new ? 0 : in_.count[row];
    for (int64_t first = begin; first < end;) {
      const int64_t added = std::min(end - first, until_halved(count));
      MIRAGE_KERNELS(voxel_cache_kernels)
          .add(element_, features_, plan_.order + first, added, channels_, is_new && first == begin, sum);
      if (count + added >= kMaxCount)
        for (int64_t c = 0; c < channels_; ++c) sum[c] *= 0.5f;
      count = count_after(count, added);
      first += added;
    }
    in_.count[row] = static_cast<int32_t>(count);
    return true;
  }

  const Segments plan_;
  const Observations in_;
  const Rows rows_;
  const int64_t used_;
  const char* features_;
  const int64_t channels_;
  const Element element_;
  char* features_rows_;
  float* scale_;
};

}  // namespace

void VoxelCacheOnCpu::commit(const CommitOperands& in) {
  Writer writer(in);
  guard(writer.run(), "voxel_cache_commit: the plan does not fit the state");
  writer.bound();
}

void VoxelCacheOnCpu::index(const Tensor&, const RowsOfCache& state, int64_t rows) {
  const Rows to{state};
  std::fill_n(to.table, to.slots, -1);
  for (int level = 0; level < kBoxLevels; ++level) std::fill_n(to.level(level), to.num_boxes(level), empty_box());
  bool ok = true;
  for (int64_t first = 0; first < rows; first += kBlock)
    ok &= to.enter(to.keys + first, first, std::min(kBlock, rows - first));
  guard(ok, "voxel_cache_index: no slot is free");
  to.bound(0, rows);
}

}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_voxel_cache<mirage::VoxelCacheOnCpu>(m); }
