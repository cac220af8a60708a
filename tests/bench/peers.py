#!/usr/bin/env python3
"""peers.py - what PyTorch, ONNX Runtime and OpenVINO reach with the same weights on this machine.

Not needed to build, test or use vlkit: `make bench PEERS=python3` runs it where that Python has torch, transformers,
onnx, onnxruntime, openvino and pillow. One process per measurement, so that nothing is warm by accident.

  peers.py check PEER                   status 1 and the reason, if the peer's modules cannot be imported
  peers.py export MODEL                 writes MODEL/vision.onnx
  peers.py tower MODEL PEER B THREADS   images/s of the image tower alone (random pixels, best and median of 5 s)
  peers.py folder MODEL PEER DIR THREADS  images/s of a pipeline: decode with Pillow in threads, batches of 16
  peers.py cold MODEL PEER IMAGE        seconds from the start of the interpreter to the first embedding
PEER: torch-f32 torch-bf16 ort-f32 ov-f32 ov-bf16"""
import sys
import time

START = time.time()
import concurrent.futures
import json
import os
import resource


def sizes(model):
    c = json.load(open(model + "/config.json")).get("vision_config", {})
    return c.get("image_size", 224)


def load_torch(model, bf16, threads):
    import torch
    from transformers import CLIPModel

    torch.set_num_threads(threads)
    m = CLIPModel.from_pretrained(model).eval()
    if bf16:
        m = m.to(torch.bfloat16)

    def run(x):
        with torch.inference_mode():
            x = torch.from_numpy(x)
            v = m.vision_model(pixel_values=x.bfloat16() if bf16 else x).pooler_output
            return m.visual_projection(v).float().numpy()

    return run


def load_ort(model, threads):
    import onnxruntime as ort

    o = ort.SessionOptions()
    o.intra_op_num_threads = threads
    s = ort.InferenceSession(model + "/vision.onnx", o, providers=["CPUExecutionProvider"])
    return lambda x: s.run(None, {"x": x})[0]


def load_ov(model, bf16, threads, batch):
    import openvino as ov

    core = ov.Core()
    m = core.read_model(model + "/vision.onnx")
    px = sizes(model)
    m.reshape([batch, 3, px, px])
    hint = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32", "PERFORMANCE_HINT": "LATENCY"}
    r = core.compile_model(m, "CPU", hint).create_infer_request()
    return lambda x: next(iter(r.infer({0: x}).values()))


def load(model, peer, threads, batch):
    if peer.startswith("torch"):
        return load_torch(model, peer.endswith("bf16"), threads)
    if peer.startswith("ort"):
        return load_ort(model, threads)
    return load_ov(model, peer.endswith("bf16"), threads, batch)


def export(model):
    import torch
    from transformers import CLIPModel

    m = CLIPModel.from_pretrained(model, attn_implementation="eager").eval()

    class Vision(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.m = m

        def forward(self, x):
            return self.m.visual_projection(self.m.vision_model(pixel_values=x).pooler_output)

    px = sizes(model)
    torch.onnx.export(Vision(), (torch.randn(2, 3, px, px),), model + "/vision.onnx", input_names=["x"],
                      output_names=["y"], dynamic_axes={"x": {0: "b"}, "y": {0: "b"}}, opset_version=17, dynamo=False)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tower(model, peer, batch, threads):
    import numpy as np

    px = sizes(model)
    x = np.random.default_rng(0).random((batch, 3, px, px), dtype="f4")
    t = time.time()
    run = load(model, peer, threads, batch)
    took = time.time() - t
    run(x)
    times, end = [], time.time() + 5
    while time.time() < end or len(times) < 3:
        t = time.time()
        run(x)
        times.append(time.time() - t)
    times.sort()
    print(f"{peer} batch {batch} threads {threads}: best {batch / times[0]:.1f} median {batch / times[len(times) // 2]:.1f} "
          f"images/s, load {took:.2f} s, peak {peak():.0f} MB")


def pixels(path, px):
    import numpy as np
    from PIL import Image

    im = Image.open(path).convert("RGB")
    w, h = im.size
    s = px / min(w, h)
    im = im.resize((px, int(px * h / w)) if w <= h else (int(px * w / h), px), Image.BICUBIC)
    w, h = im.size
    l, t = (w - px) // 2, (h - px) // 2
    a = np.asarray(im.crop((l, t, l + px, t + px)), "f4") / 255
    a = (a - np.array([0.48145466, 0.4578275, 0.40821073], "f4")) / np.array([0.26862954, 0.26130258, 0.27577711], "f4")
    return np.ascontiguousarray(a.transpose(2, 0, 1))


def folder(model, peer, path, threads):
    import numpy as np

    px, batch = sizes(model), 16
    files = sorted(os.path.join(path, f) for f in os.listdir(path))
    run = load(model, peer, threads, batch)
    run(np.zeros((batch, 3, px, px), "f4"))
    t, n = time.time(), 0
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        todo = [files[i:i + batch] for i in range(0, len(files), batch)]
        ahead = [pool.map(lambda f: pixels(f, px), b) for b in todo[:2]]
        for i, b in enumerate(todo):
            if i + 2 < len(todo):
                ahead.append(pool.map(lambda f: pixels(f, px), todo[i + 2]))
            x = np.stack(list(ahead[i]))
            k = len(x)
            if k < batch:
                x = np.concatenate([x, np.zeros((batch - k, 3, px, px), "f4")])
            n += len(run(x)[:k])
    print(f"{peer} folder threads {threads}: {n / (time.time() - t):.1f} images/s of {n} (loaded before), "
          f"{n / (time.time() - START):.1f} with the start, peak {peak():.0f} MB")


def cold(model, peer, image):
    x = pixels(image, sizes(model))[None]
    load(model, peer, os.cpu_count(), 1)(x)
    print(f"{peer} cold: {time.time() - START:.2f} s to the first embedding, peak {peak():.0f} MB")


def check(peer):
    """Imports what the peer needs; the export to ONNX needs torch for all of them."""
    needs = {"torch": ["torch", "transformers"], "ort": ["onnx", "onnxruntime"], "ov": ["openvino"]}
    for module in ["numpy", "PIL", "torch", "transformers"] + needs[peer.split("-")[0]]:
        try:
            __import__(module)
        except Exception as e:
            sys.exit(f"no {module} in {sys.executable}: {e}")


if __name__ == "__main__":
    a = sys.argv[1:]
    if a[0] == "check":
        check(a[1])
    elif a[0] == "export":
        export(a[1])
    elif a[0] == "tower":
        tower(a[1], a[2], int(a[3]), int(a[4]))
    elif a[0] == "folder":
        folder(a[1], a[2], a[3], int(a[4]))
    else:
        cold(a[1], a[2], a[3])
