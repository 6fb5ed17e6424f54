"""
A pretend accelerator on a CPU: run the real trainer, and be told where CUDA would have raised or waited.

Every tensor stays on the CPU, so results are those of the CPU run to the bit. A `TorchFunctionMode` keeps a *label*
per tensor ("cuda:0" or "cpu"), answers `tensor.device`/`is_cuda` with it, moves it at `.to()`, `.cpu()`, `device=`,
and raises where an op mixes labels in a way that CUDA refuses. It counts, by call site, what makes the host wait:
`.item()`, `.tolist()`, `bool(tensor)`, boolean indexing, `nonzero`, copies from and to the device.

    with pretend_gpu() as guard:
        trainer = build_trainer(...)
        guard.adopt(trainer.model)
        trainer.train()
    print(guard.waits, guard.copies)
"""

import contextlib
import traceback
from collections import Counter
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary, WeakIdRef


CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
FACTORIES = {
    torch.empty,
    torch.zeros,
    torch.ones,
    torch.full,
    torch.arange,
    torch.tensor,
    torch.as_tensor,
    torch.rand,
    torch.randn,
    torch.randint,
    torch.randperm,
    torch.eye,
    torch.linspace,
    torch.scalar_tensor,
    torch.empty_strided,
}
SYNCS = {
    "item",
    "tolist",
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
    "nonzero",
    "masked_select",
    "unique",
    "equal",
    "is_nonzero",
    "__contains__",
    "argwhere",
    "bincount",
    "unique_consecutive",
    "__format__",
}
MODE_OFF = torch._C.DisableTorchFunction


def tensors(value, depth=0):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)) and depth < 8:
        for part in value:
            yield from tensors(part, depth + 1)
    elif isinstance(value, dict) and depth < 8:
        for part in value.values():
            yield from tensors(part, depth + 1)


def site():
    """The innermost frame of the project, and of the library that did it."""
    frames = [
        f
        for f in traceback.extract_stack()[:-3]
        if "device_guard" not in f.filename and "overrides.py" not in f.filename
    ]
    mine = next((f for f in reversed(frames) if "/trl_copd/" in f.filename), None)
    last = frames[-1]

    def short(f):
        return f"{'/'.join(f.filename.split('/')[-2:])}:{f.lineno}" if f else "-"

    return f"{short(mine)} <- {short(last)}" if mine is not last else short(mine)


class DeviceMismatch(RuntimeError):
    pass


class Guard(TorchFunctionMode):
    def __init__(self, strict=True):
        super().__init__()
        self.labels = WeakIdKeyDictionary(ref_type=WeakIdRef)
        self.backward = False  # saved tensors come back as new objects, without a label: nothing is checked then
        self.strict, self.faults, self.waits, self.copies, self.marks = strict, [], Counter(), Counter(), Counter()
        self.calls = 0

    # ---- labels
    def label(self, tensor):
        if self.backward:
            return GPU
        with MODE_OFF():
            found = self.labels.get(tensor)
        return found if found is not None else CPU

    def mark(self, value, device):
        with MODE_OFF():
            for tensor in tensors(value):
                if tensor.device.type == "cpu":  # meta tensors stay what they are
                    self.labels[tensor] = device

    def adopt(self, module, device=GPU):
        """A module whose weights lie on the device from now on."""
        with MODE_OFF():
            for tensor in [*module.parameters(), *module.buffers()]:
                self.labels[tensor] = device

    # ---- what happens
    def fault(self, name, detail):
        where = "".join(
            traceback.format_list([f for f in traceback.extract_stack()[:-2] if "device_guard" not in f.filename][-6:])
        )
        self.faults.append((name, detail, where))
        if self.strict:
            raise DeviceMismatch(f"{name}: {detail}\n{where}")

    def wait(self, name):
        self.waits[f"{name:>12}  {site()}"] += 1

    def copy(self, direction, count=1):
        self.copies[f"{direction}  {site()}"] += count

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        self.calls += 1
        name = getattr(func, "__name__", str(func))
        owner = getattr(func, "__self__", None)  # property getters: func.__self__ is the descriptor
        if name == "__get__" and owner is not None:
            return self.getter(getattr(owner, "__name__", ""), func, args)
        if name == "__set__":
            if getattr(owner, "__name__", "") in ("data", "grad") and isinstance(args[1], torch.Tensor):
                device = self.label(args[1])
                with MODE_OFF():
                    func(*args)
                    self.labels[args[0]] = device if owner.__name__ == "data" else self.labels.get(args[0], CPU)
                return None
            return func(*args)
        # factories
        device = kwargs.get("device")
        if device is not None and not isinstance(device, torch.device):
            device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
        if func in FACTORIES or (device is not None and not any(True for _ in tensors(args))):
            if device is not None and device.type == "cuda":
                kwargs["device"] = CPU
                if func in (torch.tensor, torch.as_tensor) and not any(True for _ in tensors(args)):
                    self.copy("host->device (torch.tensor)")
            out = func(*args, **kwargs)
            self.mark(
                out,
                GPU
                if device is not None and device.type == "cuda"
                else (CPU if device is None or device.type == "cpu" else CPU),
            )
            return out
        given = list(tensors(args)) + list(tensors(kwargs))
        if name in ("to", "cuda", "cpu", "type_as", "pin_memory"):
            return self.move(name, func, args, kwargs)
        labels = [self.label(t) for t in given]
        on_gpu = any(d.type == "cuda" for d in labels)
        first = self.label(args[0]) if args and isinstance(args[0], torch.Tensor) else None
        if on_gpu:
            if name == "numpy" or name == "__array__":
                self.fault(name, "numpy() of a tensor on the device")
            if name in SYNCS or (name == "where" and len(args) + len(kwargs) == 1):
                self.wait(name)
            self.check(name, func, args, kwargs, given, labels, first)
        if device is not None and device.type == "cuda":
            kwargs["device"] = CPU
        if name in ("new_tensor",) and (device or first or CPU).type == "cuda":
            self.copy("host->device (new_tensor)")
        out = func(*args, **kwargs)
        target = (
            device
            if device is not None
            else (first if name.startswith("new_") or name == "copy_" else (GPU if on_gpu else CPU))
        )
        if name == "copy_" and len(args) > 1 and isinstance(args[1], torch.Tensor) and self.label(args[1]) != first:
            self.copy("device->host" if first.type == "cpu" else "host->device")
        if name in ("__getitem__", "index_select", "gather") and first is not None:
            target = first
        if not (name == "__setitem__" or out is None):
            self.mark(out, target if target.type == "cuda" else CPU)
        return out

    def getter(self, attribute, func, args):
        tensor = args[0]
        if attribute == "device":
            with MODE_OFF():
                real = tensor.device
            return real if real.type != "cpu" else self.label(tensor)
        if attribute == "is_cuda":
            return self.label(tensor).type == "cuda"
        if attribute == "is_cpu":
            return self.label(tensor).type == "cpu"
        device = self.label(tensor)
        out = func(*args)
        if attribute in ("data", "grad", "T", "mT", "H", "real", "imag") and isinstance(out, torch.Tensor):
            self.mark(out, device)
        return out

    def move(self, name, func, args, kwargs):
        source, target, rest = self.label(args[0]), None, []
        if name == "cuda":
            target, args = GPU, args[:1]
        elif name == "cpu":
            target = CPU
        elif name == "pin_memory":
            return args[0]
        else:
            for value in args[1:]:
                if isinstance(value, (torch.device, str)) or (isinstance(value, int) and not isinstance(value, bool)):
                    target = torch.device("cuda", value) if isinstance(value, int) else torch.device(value)
                elif isinstance(value, torch.Tensor):
                    target = self.label(value)
                    rest.append(value.dtype)
                elif isinstance(value, torch.dtype):
                    rest.append(value)
            if kwargs.get("device") is not None:
                target = torch.device(kwargs.pop("device"))
            kwargs.pop("device", None)
            if "dtype" in kwargs and kwargs["dtype"] is None:
                del kwargs["dtype"]
        if target is not None and target.type == "meta":
            return func(*args, **kwargs) if name != "to" else func(args[0], target, *rest)
        if target is not None and target.type == "cuda" and target.index is None:
            target = GPU
        if target is None or target == source:
            out = (
                func(args[0], *rest, **kwargs)
                if name == "to" and (rest or kwargs)
                else (args[0] if name == "to" or name in ("cpu", "cuda") else func(*args, **kwargs))
            )
            self.mark(out, source)
            return out
        if not kwargs.get("non_blocking"):
            if target.type == "cpu":
                self.wait(f".{name}()")
            self.copy("device->host" if target.type == "cpu" else "host->device")
        with MODE_OFF():
            out = args[0].detach().clone() if not args[0].requires_grad else args[0].clone()
            casts = [r for r in rest if isinstance(r, torch.dtype)] + (
                [kwargs["dtype"]] if kwargs.get("dtype") else []
            )
            out = out.to(casts[0]) if casts else out
        self.mark(out, target)
        return out

    def check(self, name, func, args, kwargs, given, labels, first):
        with MODE_OFF():
            if name in ("__getitem__", "__setitem__", "index", "index_put_", "index_put"):
                index = args[1] if isinstance(args[1], tuple) else (args[1],)
                for part in tensors(index):
                    if self.label(part).type == "cuda" and first.type == "cpu":
                        self.fault(name, "a CPU tensor indexed by one on the device")
                    if self.label(part).type == "cpu" and part.dim() > 0:
                        self.copy("host->device (CPU index of a device tensor)")
                    if part.dtype in (torch.bool, torch.uint8) and part.dim() > 0 and self.label(part).type == "cuda":
                        # x[mask] = scalar is masked_fill: no wait
                        scalar = (
                            name == "__setitem__"
                            and not isinstance(args[2], torch.Tensor)
                            or (name == "__setitem__" and args[2].dim() == 0)
                        )
                        if not scalar:
                            self.wait("bool index")
                    if part.dim() == 0 and not part.dtype == torch.bool and self.label(part).type == "cuda":
                        self.wait("0-dim index")
                if (
                    name == "__setitem__"
                    and isinstance(args[2], torch.Tensor)
                    and args[2].dim() > 0
                    and self.label(args[2]) != first
                ):
                    self.copy("host->device" if first.type == "cuda" else "device->host")
                    self.wait("setitem across devices")
                return
            if name in (
                "copy_",
                "set_",
                "__deepcopy__",
                "backward",
                "__set__",
                "is_",
                "data_ptr",
                "__hash__",
                "type",
                "is_floating_point",
                "share_memory_",
                "__reduce_ex__",
                "register_hook",
                "allclose",
            ):
                return
            if (
                name == "repeat_interleave"
                and len(args) > 1
                and isinstance(args[1], torch.Tensor)
                and "output_size" not in kwargs
            ):
                self.wait(name)
            mixed = [
                t
                for t, d in zip(given, labels, strict=True)
                if d.type == "cpu" and (t.dim() > 0 or name in ("stack", "cat"))
            ]
            if mixed:
                shapes = [(tuple(t.shape), str(d)) for t, d in zip(given, labels, strict=True)]
                self.fault(name, f"mixes devices: {shapes}")


@contextlib.contextmanager
def pretend_gpu(strict=True):
    """Let accelerate and the Trainer believe in `cuda:0`; everything is computed on the CPU."""
    import accelerate
    import transformers
    from torch import nn

    guard = Guard(strict)
    original = nn.Module.to

    def to(self, *args, **kwargs):
        device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None and device.type == "cuda":
            with MODE_OFF():
                if dtype is not None:
                    original(self, dtype)
            guard.adopt(self)
            return self
        return original(self, *args, **kwargs)

    def generator(device=None):
        return (
            torch.default_generator
            if device is None or torch.device(device).type == "cuda"
            else real_generator(device)
        )

    real_generator = torch.Generator
    run_backward = torch.autograd.backward

    def backward(*args, **kwargs):
        guard.backward = True
        try:
            return run_backward(*args, **kwargs)
        finally:
            guard.backward = False

    from trl import GRPOTrainer

    read = torch.load

    def load(*args, map_location=None, **kwargs):
        there = map_location is not None and not callable(map_location) and torch.device(map_location).type == "cuda"
        state = read(*args, map_location="cpu" if there else map_location, **kwargs)
        if there:
            guard.mark(state, GPU)
        return state

    def collective(name):  # NCCL takes tensors on the device only
        real = getattr(accelerate.Accelerator, name)

        def call(self, value, *args, **kwargs):
            for tensor in tensors(value):
                if guard.label(tensor).type == "cpu":
                    guard.fault(name, f"a CPU tensor {tuple(tensor.shape)} in a collective")
            return real(self, value, *args, **kwargs)

        return mock.patch.object(accelerate.Accelerator, name, call)

    with (
        collective("reduce"),
        collective("gather"),
        collective("gather_for_metrics"),
        mock.patch.object(torch, "load", load),
        mock.patch.object(GRPOTrainer, "_send_telemetry", lambda self: None),
        mock.patch.object(torch.autograd, "backward", backward),
        mock.patch.object(nn.Module, "to", to),
        mock.patch.object(accelerate.Accelerator, "device", property(lambda self: GPU)),
        mock.patch.object(
            transformers.TrainingArguments, "device", property(lambda self: (self._setup_devices, GPU)[1])
        ),
        guard,
    ):
        yield guard
