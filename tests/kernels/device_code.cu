// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
//
// Compiled by a test, never run: every shared header must serve as device code unchanged.
#include "common/depth_key.h"
#include "common/float16.h"
#include "common/frustum.h"
#include "common/voxel_key.h"
#include "overlap/overlap.h"
#include "splat/splat.h"
#include "unproject/unproject.h"
#include "voxel_cache/voxel_cache.h"

using namespace mirage;

struct Values {
  const uint32_t* at;
  int n;
  MIRAGE_HD Split split(uint32_t bound, int32_t rank) const {
    int32_t up_to = 0;
    uint32_t max_value = 0, min_value = kUnusable;
    for (int k = 0; k < n; ++k) {
      up_to += at[k] <= bound;
      max_value = at[k] <= bound && at[k] > max_value ? at[k] : max_value;
      min_value = at[k] > bound && at[k] < min_value ? at[k] : min_value;
    }
    return {up_to, up_to > rank ? max_value : min_value};
  }
};

__global__ void splat_point(const float* xyz, const float* pose, const float* lens, int h, int w, float extent,
                            unsigned long long* keys) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  const Rigid m = load_rigid(pose);
  const Pinhole k = load_pinhole(lens);
  const Projection p = project(m, k, xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2]);
  const unsigned long long key = depth_key(p.z, n);
  const Box box{{p.u, p.v, p.z}, {p.u, p.v, p.z}};
  if (is_culled(make_frustum(m, k, h, w, 1.0f), box, extent)) return;
  if (cell_of(p, h, w) >= 0) atomicMin(keys + cell_of(p, h, w), key);
  const CellRange cells = covered_cells(p, k, extent, h, w, kNear);
  for (int i = cells.i0; i <= cells.i1; ++i)
    for (int j = cells.j0; j <= cells.j1; ++j) atomicMin(keys + i * w + j, key);
  const float radius = scaled_extent(2.0f, extent, 0.5f);
  const CellRange around = cells_around(p, radius, h, w, kNear);
  for (int i = around.i0; i <= around.i1; ++i)
    for (int j = around.j0; j <= around.j1; ++j)
      if (disc_covers(p.u, p.v, radius, i, j)) atomicMin(keys + i * w + j, key);
  const Vec3 g = project_backward(m, k, xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2], p.u, p.v);
  for (int corner = 0; corner < 4; ++corner) {
    const BilinearTap t = bilinear_tap(corners_of(p, h, w, kNear), corner, h, w);
    if (t.cell >= 0 && t.weight > kMinWeight && g.x <= blend_limit(p.z, 0.05f)) atomicMin(keys + t.cell, key);
  }
}

__global__ void unproject_cell(const uint32_t* values, int n, const float* pose, const float* lens, float* out,
                               uint16_t* halves) {
  const int i = threadIdx.x;
  const float z = bits_float(select_rank<0>(1, kLargest, n / 2, n, Values{values, n}));
  const LiftedCell cell = lift_cell(load_rigid(pose), load_pinhole(lens), i, i, z);
  const Taps taps = taps_of(i, 4, 16);
  const PixelRange range = pixels_of(i, 4, 16);
  const DepthMap map{reinterpret_cast<const float*>(values), nullptr, 4, 4};
  float d = interpolate_depth(map, taps, taps);
  for_each_tap(taps, taps, [&](int32_t r, int32_t c, float along_row, float along_column) {
    d += r * c * along_row * along_column;
  });
  const bool ok = enough(n, pixel_under(i, 4, 16), range.last - range.first, 1, 0.5);
  out[i] = cell.valid && ok ? cell.x + d + lift_cell_backward(load_rigid(pose), load_pinhole(lens), i, i, z, z, z, z)
                            : 0;
  BFloat16 b;
  Float16 f;
  from_float(z, &b);
  from_float(z, &f);
  halves[i] = b.bits + f.bits + static_cast<uint16_t>(to_float(b) + to_float(f)) + sortable(float_bits(z));
}

__global__ void see_points(const float* xyz, const float* pose, const float* lens, const long long* groups, int h,
                           int w, unsigned long long* bits, float* share) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  const GroupBit at = bit_of_group(groups[n], 64);
  if (is_visible(load_rigid(pose), load_pinhole(lens), xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2], h, w))
    atomicOr(bits + at.word, static_cast<unsigned long long>(at.bit));
  share[n] = iou(count_bits(bits[0] & bits[1]), count_bits(bits[0]), count_bits(bits[1]));
}

struct OneLane {
  float sum[kSumLanes];
  template <class Term>
  MIRAGE_HD void add(int64_t first, const Term& term) {
    for (int l = 0; l < kSumLanes; ++l) sum[l] += term(first + l);
  }
  MIRAGE_HD float at(int lane) const { return sum[lane]; }
};

__global__ void decode_cell(const uint64_t* keys, float* depth, int64_t* index, const float* weights, float* sums) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const NearestPoint point = decode_key(keys[i]);
  const BlendedCell cell = finish_cell(point.index, point.depth, weights[i]);
  depth[i] = cell.depth;
  index[i] = cell.index;
  PositionGradient position;
  position.add(i % 4, depth[i], weights[i], sum_in_order(i, OneLane{}, [&](int64_t k) {
                 return weight_gradient(weights[k], depth[k], cell.weight);
               }));
  sums[i] = position.u + position.v;
}

__global__ void cache_point(const float* xyz, const float* footprint, float inverse_size, int32_t* table,
                            uint64_t slots, const int64_t* keys, int64_t rows, int32_t* row, PyramidBox* boxes) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  const float* p = xyz + 3 * n;
  const VoxelAxes point{voxel_axis(p[0], inverse_size), voxel_axis(p[1], inverse_size), voxel_axis(p[2], inverse_size)};
  if (!is_kept(point, footprint[n]) || point_rank(footprint[n], n) == 0) return;
  const VoxelAxes a = axes_of(voxel_key(axes_of_morton(morton(point))));
  row[n] = find_row(table, slots, keys, rows, voxel_key(a), home_slot(a, slots));
  if (row[n] < 0 && !enter_row(table, slots, n, home_slot(a, slots))) return;
  row[n] = winner_over_row(row[n], footprint[n], 1.0f);
  PyramidBox box = empty_box();
  grow(box, p, footprint[n]);
  grow(boxes[n / kFanout], box);
}

__global__ void read_row(const float* pose, const float* lens, const PyramidBox* boxes, const float* shown, int h,
                         int w, const StoredRows rows, int8_t* steps, uint8_t* keep) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  const View view = load_view(pose, lens, h, w);
  const PyramidBox box = boxes[n / kFanout];
  const bool out = is_culled(view.frustum, box.box, scaled_extent(0.6f, box.extent, 0.01f));
  keep[n] = !out && !seen_through(shown[n], box.box.min[2], 1.05f);
  steps[n] = static_cast<int8_t>(int8_steps(decode_value(shown[n], load_scale(rows, n)), int8_scale(shown[0])));
}
