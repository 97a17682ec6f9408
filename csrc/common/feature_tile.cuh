// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device.h"

// Features between maps (B, C, cells) and rows (B cells, C), or rows by index, through tiles (cells, C) in shared
// memory.
namespace mirage {
namespace {

constexpr int kTileCells = 64;  // consecutive cells of one map, which a block takes
constexpr int kTileWarps = 8;
constexpr int kTileThreads = kTileWarps * kWarp;

// What a thread moves at a time: sixteen bytes along the cells of one channel. Two neighboring lanes complete a sector
// of 32 bytes; the others take other channels, which lie side by side in the tile.
template <class Word>
constexpr int kAlong = 16 / sizeof(Word);

template <class Word>
struct alignas(16) Words {
  Word at[kAlong<Word>];
};

struct TileOfFeatures {
  int64_t channels, cells;  // C and h w
  int64_t first;            // cell of the map
  int32_t count;            // cells
  int64_t channel;          // the first
  int32_t depth;            // channels
  bool aligned_maps, aligned_rows;  // runs of cells, or all rows of the tile together, begin on multiples of 16 bytes

  // Calls visit(cell of the tile, channel of the tile) for every sixteen bytes along cells, or else for every word.
  template <class Word, class Visit>
  __device__ __forceinline__ void along_cells(const Visit& visit) const {
    if (aligned_maps && count == kTileCells) {
      constexpr int pairs = kTileCells / kAlong<Word> / 2;
#pragma unroll 2
      for (int i = threadIdx.x; i < depth * pairs * 2; i += kTileThreads) {
        const int pair = i / 2 / depth, c = i / 2 % depth;
        visit((2 * pair + i % 2) * kAlong<Word>, c);
      }
    } else {
#pragma unroll 1
      for (int i = threadIdx.x; i < depth * count; i += kTileThreads) visit(i % count, i / count);
    }
  }
};

template <class Word>
__device__ __forceinline__ void maps_to_tile(const TileOfFeatures& t, const Word* map, uint64_t valid, Word* tile) {
  const bool vectorized = t.aligned_maps && t.count == kTileCells;
  t.along_cells<Word>([&](int cell, int c) {
    const Word* from = map + (t.channel + c) * t.cells + t.first + cell;
    Words<Word> words;
    if (vectorized)
      *reinterpret_cast<uint4*>(&words) = __ldcs(reinterpret_cast<const uint4*>(from));
    else
      words.at[0] = __ldg(from);
#pragma unroll
    for (int k = 0; k < kAlong<Word>; ++k)
      if (k == 0 || vectorized) tile[(cell + k) * t.depth + c] = valid >> (cell + k) & 1 ? words.at[k] : Word{0};
  });
}

template <class Word>
__device__ __forceinline__ void tile_to_maps(const TileOfFeatures& t, const Word* tile, uint64_t valid, Word* map) {
  const bool vectorized = t.aligned_maps && t.count == kTileCells;
  t.along_cells<Word>([&](int cell, int c) {
    Word* to = map + (t.channel + c) * t.cells + t.first + cell;
    Words<Word> words;
#pragma unroll
    for (int k = 0; k < kAlong<Word>; ++k)
      words.at[k] = (k == 0 || vectorized) && (valid >> (cell + k) & 1) ? tile[(cell + k) * t.depth + c] : Word{0};
    if (vectorized)
      __stcs(reinterpret_cast<uint4*>(to), *reinterpret_cast<const uint4*>(&words));
    else
      *to = words.at[0];
  });
}

// Rows (count, C) beginning at `rows`, or as many channels of them as the tile has. One of the two is const.
template <class Word, class Move, class MoveVector>
__device__ __forceinline__ void along_rows(const TileOfFeatures& t, const Move& move, const MoveVector& move_vector) {
  const int32_t size = t.count * t.depth;
  int32_t begin = 0;
  if (t.aligned_rows && t.depth == t.channels) {  // the tile is one run of memory
    begin = size / kAlong<Word> * kAlong<Word>;
#pragma unroll 2
    for (int32_t i = threadIdx.x * kAlong<Word>; i < begin; i += kTileThreads * kAlong<Word>) move_vector(i);
  }
#pragma unroll 1
  for (int32_t i = begin + threadIdx.x; i < size; i += kTileThreads)
    move(i, i / t.depth * t.channels + t.channel + i % t.depth);
}

template <class Word>
__device__ __forceinline__ void tile_to_rows(const TileOfFeatures& t, const Word* tile, Word* rows) {
  along_rows<Word>(
      t, [&](int32_t i, int64_t at) { rows[at] = tile[i]; },
      [&](int32_t i) { __stcs(reinterpret_cast<uint4*>(rows + i), *reinterpret_cast<const uint4*>(tile + i)); });
}

template <class Word>
__device__ __forceinline__ void rows_to_tile(const TileOfFeatures& t, const Word* rows, Word* tile) {
  along_rows<Word>(
      t, [&](int32_t i, int64_t at) { tile[i] = __ldg(rows + at); },
      [&](int32_t i) { *reinterpret_cast<uint4*>(tile + i) = __ldcs(reinterpret_cast<const uint4*>(rows + i)); });
}

// Rows anywhere, by their numbers `row`, for the cells whose bit is set; the rest of the tile does not change. With
// aligned_rows every row begins on a multiple of sixteen bytes.
template <class Word, class Row>
__device__ __forceinline__ void gather_to_tile(const TileOfFeatures& t, const Word* rows, const Row* row,
                                               uint64_t valid, Word* tile) {
  if (t.aligned_rows && t.depth % kAlong<Word> == 0) {
    const int32_t parts = t.depth / kAlong<Word>;
#pragma unroll 2
    for (int32_t i = threadIdx.x; i < t.count * parts; i += kTileThreads) {
      const int32_t cell = i / parts, c = i % parts * kAlong<Word>;
      if (valid >> cell & 1)
        *reinterpret_cast<uint4*>(tile + cell * t.depth + c) = __ldg(
            reinterpret_cast<const uint4*>(rows + static_cast<int64_t>(row[cell]) * t.channels + t.channel + c));
    }
  } else {
#pragma unroll 1
    for (int32_t i = threadIdx.x; i < t.count * t.depth; i += kTileThreads) {
      const int32_t cell = i / t.depth, c = i % t.depth;
      if (valid >> cell & 1) tile[i] = __ldg(rows + static_cast<int64_t>(row[cell]) * t.channels + t.channel + c);
    }
  }
}

struct Features {
  int64_t channels;
  int32_t depth;  // channels that a tile in shared memory takes
  bool aligned_maps, aligned_rows;
};

constexpr int64_t kTileBytes = 32 << 10;  // of shared memory, or one channel if that is more

// How features are cut into tiles, and whether maps (B, C, cells) and rows are moved by sixteen bytes at a time. Rows
// begin every row_words words: those of a map's cells together, or those of one cell.
template <class Word>
Features plan_tiles(int64_t channels, const void* maps, int64_t cells, const void* rows, int64_t row_words) {
  const auto aligned = [](const void* at, int64_t words) {
    return reinterpret_cast<uintptr_t>(at) % 16 == 0 && words * sizeof(Word) % 16 == 0;
  };
  const int64_t max_depth = kTileBytes / (kTileCells * sizeof(Word));
  return {channels, static_cast<int32_t>(channels < max_depth ? channels : max_depth), aligned(maps, cells),
          aligned(rows, row_words)};
}

template <class Word>
size_t bytes_of_tile(const Features& f) {
  return kTileCells * f.depth * sizeof(Word);
}

// The part of the work of a block: kCells consecutive cells of one map, or pixels. A map has fewer than 2^31 of them.
template <int kCells>
struct TileLocation {
  int64_t b;
  int32_t first, count;

  __device__ __forceinline__ explicit TileLocation(int64_t cells) {
    const unsigned blocks = (static_cast<unsigned>(cells) + kCells - 1) / kCells;
    b = blockIdx.x / blocks;
    first = static_cast<int32_t>(blockIdx.x % blocks * kCells);
    count = min(static_cast<int32_t>(cells) - first, kCells);
  }
};

__device__ __forceinline__ TileOfFeatures tile_of(const Features& f, const TileLocation<kTileCells>& p, int64_t cells,
                                                  int64_t c) {
  return {
      f.channels,     cells,         p.first, p.count, c, static_cast<int32_t>(min(f.channels - c, int64_t{f.depth})),
      f.aligned_maps, f.aligned_rows};
}

// Warps 0 and 1 have one cell per lane; afterwards every thread has the bits of all cells.
__device__ __forceinline__ uint64_t broadcast_valid(bool valid, unsigned (&shared)[2]) {
  if (threadIdx.x < kTileCells) {
    const unsigned ballot = __ballot_sync(kAllLanes, valid);
    if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = ballot;
  }
  __syncthreads();
  return static_cast<uint64_t>(shared[1]) << 32 | shared[0];
}

}  // namespace
}  // namespace mirage
