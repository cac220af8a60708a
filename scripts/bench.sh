#!/bin/sh
# bench.sh - speed and memory on this machine, beside its limit, and beside peers if a Python has them.
# usage: B=build/release bench.sh [kernel] [train] [tower] [folder] [cold] [grow]       without arguments: all of them
#   MODELS="b32 b16 l14"   sizes, random weights, made in build/bench (2.6 GB for all three)
#   IMAGES=DIR             your own JPEGs for `folder` and `cold`; otherwise the samples, repeated
#   PEERS=python3          a Python with torch, transformers, onnx, onnxruntime, openvino and pillow: measured in turn
#                          with vlkit; a peer that cannot run is reported with its reason
#   ROUNDS=2  BF16=1       rounds of the interleaved runs; bf16 too
# Run it on an idle machine: everything here uses all cores.
cd "$(dirname "$0")/.." || exit 2
B=${B:-build/release}
MODELS=${MODELS:-b32}
ROUNDS=${ROUNDS:-2}
dir=build/bench
mkdir -p "$dir/one"
threads=$(nproc)

say() { printf '%s\n' "$*"; }
all_peers="ov-f32 ort-f32 torch-f32"
[ -z "${BF16-1}" ] || all_peers="$all_peers ov-bf16 torch-bf16"
peers= # those that can run

# A peer's measurement, or the last line of what went wrong.
peer() { # tower|folder|cold|export MODEL PEER ...
    "$PEERS" tests/bench/peers.py "$@" 2>"$dir/peer.err" && return
    say "${3:-$1}: failed: $(tail -n 1 "$dir/peer.err")"
    return 1
}

# Which peers can run, and why the others cannot.
find_peers() {
    if [ -z "${PEERS-}" ]; then
        say "peers: none measured: PEERS names no Python (PEERS=python3, with torch, transformers, onnx, onnxruntime, openvino, pillow)"
        return
    fi
    command -v "$PEERS" >/dev/null 2>&1 || { say "peers: none measured: $PEERS is not a command"; return; }
    for p in $all_peers; do
        if "$PEERS" tests/bench/peers.py check "$p" >"$dir/peer.err" 2>&1; then peers="$peers $p"; else
            say "peers: $p cannot run: $(tail -n 1 "$dir/peer.err")"
        fi
    done
    say "peers:${peers:- none}"
}

# What a run took: "seconds, processor seconds, peak kB".
timed() { # COMMAND...
    "$B/tests/bench/timed" "$@" 2>&1 >"$dir/out" | tail -n 1
}

images() { # N: a folder of N images: links to the given ones
    to=$dir/images-$1
    [ -d "$to" ] || {
        mkdir "$to"
        i=0
        while [ $i -lt "$1" ]; do
            for f in "${IMAGES:-share/samples}"/*.jpg; do
                [ $i -lt "$1" ] || break
                ln -s "$(realpath "$f")" "$to/$(printf %05d $i).jpg"
                i=$((i + 1))
            done
        done
    }
    echo "$to"
}

b_kernel() {
    say "== products and attention, share of the peak"
    "$B/tests/bench/bench_kernel" 0.5
}

b_train() {
    say "== a training step of the small ViT of share/recipes, without optimiser and data, $threads threads"
    for r in $(seq "$ROUNDS"); do
        for t in f32 ${BF16-bf16}; do
            [ "$t" = 1 ] && t=bf16
            "$B/tests/bench/bench_train" share/recipes/vit-64/config.json 256 "$threads" $t 5
        done
    done
}

b_tower() {
    for m in $MODELS; do
        say "== $m: the image tower alone, $threads threads"
        for b in 1 16; do
            for r in $(seq "$ROUNDS"); do
                for t in f32 ${BF16-bf16}; do
                    [ "$t" = 1 ] && t=bf16
                    "$B/tests/bench/bench_tower" "$dir/$m" $b "$threads" $t 5
                done
                for p in $peers; do peer tower "$dir/$m" $p $b "$threads"; done
            done
        done
    done
}

b_folder() {
    for m in $MODELS; do
        n=320
        [ "$m" = b32 ] || n=96
        say "== $m: the whole program on $n JPEGs, decode and start included"
        for r in $(seq "$ROUNDS"); do
            for t in f32 ${BF16-bf16}; do
                [ "$t" = 1 ] && t=bf16
                timed "$B/clip-embed" -m "$dir/$m" --dtype $t "$(images $n)" -o "$dir/folder.npy" |
                    awk -v n=$n -v t=$t '{ printf "vlkit %s: %.1f images/s, peak %.0f MB\n", t, n / $1, $3 / 1024 }'
            done
            for p in $peers; do peer folder "$dir/$m" $p "$(images $n)" "$threads"; done
        done
    done
}

b_cold() {
    one=$(images 1)
    for m in $MODELS; do
        say "== $m: one image from a cold process, warm page cache"
        for r in 1 2 3; do
            timed "$B/clip-embed" -m "$dir/$m" "$one"/00000.jpg |
                awk '{ printf "vlkit f32: %.3f s, peak %.0f MB\n", $1, $3 / 1024 }'
        done
        "$B/tests/bench/bench_tower" "$dir/$m" 1 "$threads" f32 0 cold
        for p in $peers; do peer cold "$dir/$m" $p "$one"/00000.jpg; done
    done
    "$B/clip-embed" --help >/dev/null
    timed "$B/clip-embed" --help | awk '{ printf "clip-embed --help: %.3f s\n", $1 }'
}

b_grow() {
    set -- $MODELS
    say "== $1: how cost grows with images, batch and threads (images/s, start included)"
    for n in 1 10 100 1000; do
        timed "$B/clip-embed" -m "$dir/$1" "$(images $n)" -o "$dir/grow.npy" |
            awk -v n=$n '{ printf "%4d images: %.2f s, %.1f images/s, peak %.0f MB\n", n, $1, n / $1, $3 / 1024 }'
    done
    for b in 1 8 64; do
        for j in 1 2; do
            timed "$B/clip-embed" -m "$dir/$1" -b $b -j $j "$(images 100)" -o "$dir/grow.npy" |
                awk -v b=$b -v j=$j '{ printf "batch %2d, -j%d: %.1f images/s, peak %.0f MB\n", b, j, 100 / $1, $3 / 1024 }'
        done
    done
}

for part in "$@"; do
    case $part in
    kernel | train | tower | folder | cold | grow) ;;
    *) say "bench.sh: kernel, train, tower, folder, cold or grow, not $part" >&2; exit 2 ;;
    esac
done
say "CPU: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $threads cores; load $(cut -d' ' -f1 /proc/loadavg)"
"$B/clip-embed" --version
find_peers
for m in $MODELS; do
    [ -f "$dir/$m/model.safetensors" ] || { mkdir -p "$dir/$m" && "$B/tests/bench/make_model" "$dir/$m" "$m" f32 || exit 2; }
    case $peers in
    *ov* | *ort*)
        [ -f "$dir/$m/vision.onnx" ] || peer export "$dir/$m" || say "peers: without this export ONNX Runtime and OpenVINO cannot run $m"
        ;;
    esac
done
for part in ${*:-kernel train tower folder cold grow}; do
    "b_$part"
done
