// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_bilinear_isa.h"

#include "cpu/tile.h"
#include "splat/splat_block.h"
#include "splat/splat_lanes.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

template <int kBytes>
struct WordOf {
  using type = uint32_t;
};
template <>
struct WordOf<2> {
  using type = uint16_t;
};
template <int kBytes>
using Words = typename WordOf<kBytes>::type;

struct alignas(64) ProjectedBlock {
  uint32_t depth[kBlock];  // bits of Z
  int32_t i[kBlock], j[kBlock];  // Corners
  float s[kBlock], t[kBlock];
  int32_t mark[kBlock];  // negative: no taps
};

struct alignas(64) BilinearTaps {  // of up to kBlock points, by corner
  int32_t cell[4][kBlock];
  float weight[4][kBlock];
  uint32_t depth[kBlock];
  int32_t mark[kBlock];           // negative: no cell blends the point
  int32_t hits[kBlock + kLanes];
};

void project_corners(const SplatBlock& block, const View& view, int h, int w, ProjectedBlock& out) {
  const Rigid m = view.world2cam;
  const Pinhole pinhole = view.pinhole;
  const int lanes = block.lanes;
  const float near = block.near;
  for_each_lane(lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    const Corners c = corners_of(p, h, w, near);
    out.mark[k] = c.i + 1;
    out.depth[k] = float_bits(p.z);
    out.i[k] = c.i;
    out.j[k] = c.j;
    out.s[k] = c.s;
    out.t[k] = c.t;
  });
}

// Appends the block's points with a tap in the view.
void append_visible(const SplatBlock& block, const ProjectedBlock& from, VisiblePoints& to) {
  const int at = to.count;
  to.count += pack_words<6>(from.mark, block.lanes, {from.depth, from.i, from.j, from.s, from.t, kLaneNumbers.number},
                            {to.depth + at, to.i + at, to.j + at, to.s + at, to.t + at, to.point + at});
  for (int k = at; k < to.count; ++k) to.point[k] = index_of(block, static_cast<int>(to.point[k]));
}

// The taps of visible points first .. first + n - 1; returns n rounded up to whole registers, which have no more taps.
int load_taps(const VisiblePoints& visible, int first, int n, int h, int w, BilinearTaps& out) {
#pragma GCC ivdep
  for (int k = 0; k < n; ++k) {
    const Corners c{visible.i[first + k], visible.j[first + k], visible.s[first + k], visible.t[first + k]};
    for (int corner = 0; corner < 4; ++corner) {
      const BilinearTap tap = bilinear_tap(c, corner, h, w);
      out.cell[corner][k] = tap.cell;
      out.weight[corner][k] = tap.weight;
    }
    out.depth[k] = visible.depth[first + k];
  }
  int lanes = n;
  for (; lanes % kLanes != 0; ++lanes) {
    for (int corner = 0; corner < 4; ++corner) {
      out.cell[corner][lanes] = -1;
      out.weight[corner][lanes] = 0.0f;
    }
    out.depth[lanes] = 0;
  }
  return lanes;
}

void scatter_taps(const VisiblePoints& visible, int first, int lanes, uint64_t* keys, BilinearTaps& taps) {
  for (int corner = 0; corner < 4; ++corner) {
    const int n = pack_winners<true>(taps.cell[corner], taps.depth, lanes, keys, taps.hits);
    for (int hit = 0; hit < n; ++hit) {
      const int k = taps.hits[hit];
      min_key(keys[taps.cell[corner][k]], depth_key(bits_float(taps.depth[k]), visible.point[first + k]));
    }
  }
}

void scatter(const SplatPoints& points, const BilinearJob& job, VisibleLists& lists) {
  const int64_t cells = static_cast<int64_t>(job.h) * job.w;
  SplatBlock block;
  ProjectedBlock projected;
  BilinearTaps taps;
  prepare(points, block);
  for (int64_t i = 0; i < job.num_views * cells; ++i) job.keys[i] = kEmptyKey;
  for (int64_t number = job.first; number < job.last; ++number) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v) {
      if (is_culled(job.views[v].frustum, block.box, 0.0f)) continue;
      VisiblePoints* list = lists.last[v];
      if (list == nullptr || list->count + kBlock > kMaxVisible) list = lists.extend(lists, v);
      const int first = list->count;
      project_corners(block, job.views[v], job.h, job.w, projected);
      append_visible(block, projected, *list);
      const int lanes = load_taps(*list, first, list->count - first, job.h, job.w, taps);
      scatter_taps(*list, first, lanes, job.keys + v * cells, taps);
    }
  }
}

// Moves the cells of the taps to the rows of their sums. A tap that its cell does not blend goes to one of the rows behind
// them, so that no branch depends on it.
void choose_sums(const float* limits, const BlendSums& sums, int lanes, BilinearTaps& taps) {
  const int32_t first = static_cast<int32_t>(sums.first), last = static_cast<int32_t>(sums.last);
  const int32_t cells = last - first;
#pragma GCC ivdep
  for (int k = 0; k < lanes; ++k) {
    int32_t any = 0;
    for (int corner = 0; corner < 4; ++corner) {
      const int32_t cell = taps.cell[corner][k];
      const int32_t in = -static_cast<int32_t>((cell >= first) & (cell < last));
      const int32_t limit = static_cast<int32_t>(
          float_bits(limits[cell & in]));  // bits sort as depths, all above 0, do
      const int32_t blends = -static_cast<int32_t>(static_cast<int32_t>(taps.depth[k]) <= limit) & in;
      taps.cell[corner][k] = ((cell - first) & blends) | ((cells + corner) & ~blends);
      any |= blends;
    }
    taps.mark[k] = ~any;
  }
}

#if defined(__AVX512F__)
constexpr int kVector = 16;
#elif defined(__AVX__)
constexpr int kVector = 8;
#else
constexpr int kVector = 4;
#endif
typedef float Vector __attribute__((vector_size(kVector * sizeof(float))));  // a register

MIRAGE_HD Vector load_vector(const float* from) {
  Vector out;
  __builtin_memcpy(&out, from, sizeof(out));
  return out;
}

template <class T>
MIRAGE_HD Vector load_vector(const T* from) {
  float wide[kVector];
  for (int l = 0; l < kVector; ++l) wide[l] = to_float(from[l]);
  return load_vector(wide);
}

// sums += weight * row, in the four cells of tap k.
template <class T>
MIRAGE_HD void add_row(const T* row, int64_t channels, const BilinearTaps& taps, int k, const BlendSums& sums) {
  float* cells[4];
  float weight[4];
  for (int corner = 0; corner < 4; ++corner) {
    const int64_t cell = taps.cell[corner][k];
    weight[corner] = taps.weight[corner][k];
    cells[corner] = sums.features + cell * channels;
    sums.weights[cell] += weight[corner];
  }
  int64_t c = 0;
  for (; c + kVector <= channels; c += kVector) {
    const Vector feature = load_vector(row + c);
    for (int corner = 0; corner < 4; ++corner) {
      const Vector sum = load_vector(cells[corner] + c) + weight[corner] * feature;
      __builtin_memcpy(cells[corner] + c, &sum, sizeof(sum));
    }
  }
  for (; c < channels; ++c)
    for (int corner = 0; corner < 4; ++corner) cells[corner][c] += weight[corner] * to_float(row[c]);
}

constexpr int kPrefetchDistance = 8;  // points

// kChannels: their number, or 0 where it is none of those below.
template <class T, int kChannels>
void blend_channels(const VisiblePoints& visible, const BlendGrid& grid, const void* features, const BlendSums& sums) {
  const int64_t channels = kChannels > 0 ? kChannels : grid.channels;
  const T* rows = static_cast<const T*>(features);
  BilinearTaps taps;
  for (int first = 0; first < visible.count; first += kBlock) {
    const int count = visible.count - first < kBlock ? visible.count - first : kBlock;
    const int lanes = load_taps(visible, first, count, grid.h, grid.w, taps);
    choose_sums(grid.limits, sums, lanes, taps);
    const int n = pack_marked(taps.mark, lanes, taps.hits);
    for (int hit = 0; hit < n; ++hit) {
      const int ahead = taps.hits[hit + kPrefetchDistance < n ? hit + kPrefetchDistance : n - 1], k = taps.hits[hit];
      const T* next = rows + visible.point[first + ahead] * channels;
      for (int64_t c = 0; c < channels; c += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(next + c, 0, 2);
      add_row(rows + visible.point[first + k] * channels, channels, taps, k, sums);
    }
  }
}

template <class T>
void blend(const VisiblePoints& visible, const BlendGrid& grid, const void* features, const BlendSums& sums) {
  if (grid.channels == 48) return blend_channels<T, 48>(visible, grid, features, sums);  // Wan2.2
  if (grid.channels == 16) return blend_channels<T, 16>(visible, grid, features, sums);  // Wan2.1
  blend_channels<T, 0>(visible, grid, features, sums);
}

template <class T, bool kStream>
void normalize_to(const BlendGrid& grid, const BlendSums& sums, const BlendResult& result) {
  using Word = Words<sizeof(T)>;
  constexpr int64_t kTile = 64, kDepth = 64;  // cells and channels at a time
  Word* out = static_cast<Word*>(result.out);
  for (int64_t first = 0; first < sums.cells(); first += kTile) {
    const int64_t last = first + kTile < sums.cells() ? first + kTile : sums.cells();
    for (int64_t c = 0; c < grid.channels; c += kDepth) {
      const int64_t depth = grid.channels - c < kDepth ? grid.channels - c : kDepth;
      alignas(64) T tile[kTile * kDepth];  // (cell, channel)
      const Word* rows[kTile];
      for (int64_t k = first; k < last; ++k) {
        T* row = tile + (k - first) * kDepth;
        const float* sum = sums.features + k * grid.channels + c;
        const float weight = sums.weights[k];
        if (is_covered(weight)) {
#pragma GCC ivdep
          for (int64_t i = 0; i < depth; ++i) from_float(sum[i] / weight, row + i);
        } else {
          for (int64_t i = 0; i < depth; ++i) row[i] = T{};
        }
        rows[k - first] = reinterpret_cast<const Word*>(row);
      }
      transpose<Word, kStream>(rows, last - first, depth, out + c * result.stride + first, result.stride);
    }
    for (int64_t k = first; k < last; ++k) {
      const BlendedCell cell = finish_cell(result.index[k], result.depth[k], sums.weights[k]);
      result.index[k] = cell.index;
      result.depth[k] = cell.depth;
      result.weight[k] = cell.weight;
    }
  }
}

template <class T>
void normalize(const BlendGrid& grid, const BlendSums& sums, const BlendResult& result) {
  if (!result.stream) return normalize_to<T, false>(grid, sums, result);
  normalize_to<T, true>(grid, sums, result);
  stream_fence();
}

// Calls visit(index, lane, k) for the block's points that have a tap in the view, in ascending order; their taps are
// number k.
struct VisibleBlock {
  ProjectedBlock projected;
  VisiblePoints points;
  BilinearTaps taps;

  template <class Visit>
  MIRAGE_HD void for_each(const SplatBlock& block, const View& view, const BlendGrid& grid, const Visit& visit) {
    if (is_culled(view.frustum, block.box, 0.0f)) return;
    points.count = 0;
    project_corners(block, view, grid.h, grid.w, projected);
    append_visible(block, projected, points);
    load_taps(points, 0, points.count, grid.h, grid.w, taps);
    for (int k = 0; k < points.count; ++k) {
      const uint32_t lane = points.point[k] - block.first[0];
      visit(static_cast<int64_t>(points.point[k]), static_cast<int>(lane), k);
    }
  }

  // The corner's cell if it blends point k, or -1.
  MIRAGE_HD int32_t blended_cell(int corner, int k, const float* limits) const {
    const int32_t cell = taps.cell[corner][k];
    return cell >= 0 && bits_float(taps.depth[k]) <= limits[cell] ? cell : -1;
  }
};

void backward_features(const SplatPoints& points, const BlendGrid& grid, const BlendGradient& job, float* sums) {
  const int64_t cells = static_cast<int64_t>(grid.h) * grid.w, channels = grid.channels;
  SplatBlock block;
  VisibleBlock visible;
  prepare(points, block);
  for (int64_t number = job.first; number < job.last; ++number) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v) {
      visible.for_each(block, job.views[v], grid, [&](int64_t index, int, int k) {
        float* __restrict sum = sums + index * channels;
        for (int corner = 0; corner < 4; ++corner) {
          const int32_t cell = visible.blended_cell(corner, k, grid.limits + v * cells);
          if (cell < 0) continue;
          const float weight = visible.taps.weight[corner][k] / job.weights[v * cells + cell];
          const float* grad = job.grad + (v * cells + cell) * channels;
          for (int64_t channel = 0; channel < channels; ++channel) sum[channel] += weight * grad[channel];
        }
      });
    }
  }
}

template <class T>
void backward_xyz(const SplatPoints& points, const BlendGrid& grid, const BlendGradient& job, const void* features,
                  float* sums) {
  const int64_t cells = static_cast<int64_t>(grid.h) * grid.w, channels = grid.channels;
  SplatBlock block;
  VisibleBlock visible;
  prepare(points, block);
  for (int64_t number = job.first; number < job.last; ++number) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v) {
      const View& view = job.views[v];
      visible.for_each(block, view, grid, [&](int64_t index, int lane, int k) {
        const T* row = static_cast<const T*>(features) + index * channels;
        PositionGradient position;
        for (int corner = 0; corner < 4; ++corner) {
          const int32_t cell = visible.blended_cell(corner, k, grid.limits + v * cells);
          if (cell < 0) continue;
          const int64_t at = v * cells + cell;
          const float* grad = job.grad + at * channels;
          const float* blended = job.blended + at * channels;
          const float sum = sum_in_order(
              channels, Lanes{}, [&](int64_t i) { return weight_gradient(grad[i], to_float(row[i]), blended[i]); });
          position.add(corner, visible.points.s[k], visible.points.t[k], sum / job.weights[at]);
        }
        const Vec3 g = project_backward(view.world2cam, view.pinhole, block.x[lane], block.y[lane], block.z[lane],
                                        position.u, position.v);
        sums[3 * index] += g.x;
        sums[3 * index + 1] += g.y;
        sums[3 * index + 2] += g.z;
      });
    }
  }
}

}  // namespace

extern const BilinearKernels bilinear_kernels{scatter,
                                              {blend<float>, blend<BFloat16>, blend<Float16>},
                                              {normalize<float>, normalize<BFloat16>, normalize<Float16>},
                                              backward_features,
                                              {backward_xyz<float>, backward_xyz<BFloat16>, backward_xyz<Float16>}};

}  // namespace MIRAGE_ISA
}  // namespace mirage
