"""A network whose every forward pass sees its matrices as they come back from storage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softcell.compress.matrices import fisher_of
from softcell.compress.prune import least, saliency
from softcell.errors import InputError
from softcell.training.quantised import QuantisedStorage
from softcell.training.storage import Storage

MakeStorage = Callable[[str, Tensor], Storage]
"""Makes the storage of a matrix, given its name and its values."""


class StoredWeights(nn.Module):
    """Wraps a module: forward passes see stored matrices, the optimiser keeps the float ones.

    Matrices are the parameters of two and more dimensions; vectors are seen as they are. A matrix
    of several names is stored once. The module itself is not changed: used alone, it computes with
    the float weights, and what training does to them is seen in it.

    Args:
        module: The network.
        storage: Makes the storage of each matrix.
        keep: Names of matrices to leave as they are.

    Raises:
        InputError: The module has no matrix, or a name of `keep` is none of its parameters.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> _ = nn.init.constant_(net.weight, 0.4), nn.init.zeros_(net.bias)
        >>> stored = StoredWeights(net, lambda name, w: QuantisedStorage(w, step=5.0))
        >>> stored(torch.ones(1, 2)).tolist(), net(torch.ones(1, 2)).tolist()
        ([[0.0, 0.0]], [[0.800000011920929, 0.800000011920929]])

    In a loop of your own:

        stored = StoredWeights(net, lambda name, w: QuantisedStorage(w))
        optimiser = torch.optim.Adam(stored.parameters(), lr=1e-3)
        for x, y in loader:
            loss = functional.cross_entropy(stored(x), y) + price * stored.bits() / stored.weights
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    """

    def __init__(
        self, module: nn.Module, storage: MakeStorage, *, keep: Collection[str] = ()
    ) -> None:
        super().__init__()
        parameters = dict(module.named_parameters())
        unknown = [name for name in keep if name not in parameters]
        if unknown:
            raise InputError(f"the module has no parameter {unknown[0]!r} to keep")
        matrices = {
            name: values
            for name, values in parameters.items()
            if values.ndim > 1 and values.is_floating_point() and name not in keep
        }
        if not matrices:
            raise InputError("the module has no matrix to store; keep fewer of its parameters")
        self.module = module
        self.names = tuple(matrices)
        """Names of the matrices in the module."""
        # A module's children may have no dot in their names.
        self.storages = nn.ModuleDict(
            {_key(name): storage(name, values) for name, values in matrices.items()}
        )
        self.kept = nn.Module()
        for name, values in matrices.items():
            self.kept.register_buffer(_key(name), torch.ones_like(values, dtype=torch.bool))

    @property
    def weights(self) -> int:
        """Number of parameters and buffers of the module, the denominator of bits per weight."""
        return sum(values.numel() for values in self.module.state_dict().values())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module with its matrices as they are read back."""
        seen = {name: self.storage(name)(self.wanted(name)) for name in self.names}
        return torch.func.functional_call(self.module, seen, args, kwargs)

    def bits(self) -> Tensor:
        """Return the bits that all matrices take, a scalar to put into the loss."""
        return torch.stack([self.storage(n).bits(self.wanted(n)) for n in self.names]).sum()

    def storage(self, name: str) -> Storage:
        """Return the storage of a matrix."""
        found = self.storages[_key(name)]
        if not isinstance(found, Storage):
            raise InputError(f"the storage of {name!r} is a {type(found).__name__}, no Storage")
        return found

    def wanted(self, name: str) -> Tensor:
        """Return the float values of a matrix, zero where they are pruned."""
        values = self.module.get_parameter(name)
        return values * self.kept.get_buffer(_key(name))

    @torch.no_grad()
    def prune(self, fraction: float, fisher: Mapping[str, Tensor] | None = None) -> None:
        """Prune the weights of all matrices that matter least; what is pruned stays so.

        One threshold for all matrices is put to |w|, or to F w^2 / 2 with Fisher information F.

        Args:
            fraction: Part of the matrices' weights that is pruned afterwards, from 0 to below 1;
                where more are already, nothing changes.
            fisher: Diagonal Fisher information of every matrix by name, of its shape, at least 0;
                a common factor does not matter.

        Raises:
            InputError: The fraction is out of range, or the Fisher information of a matrix is
                missing, of another shape, negative or not finite.
        """
        values = {name: self.wanted(name).detach().cpu().numpy() for name in self.names}
        matter = {name: np.abs(each) for name, each in values.items()}
        if fisher is not None:
            felt = fisher_of(values, {name: each.cpu().numpy() for name, each in fisher.items()})
            matter = {name: saliency(each, felt[name]) for name, each in values.items()}
        for name, each in matter.items():
            # Before those that are there and do not matter, so that the number is exact.
            each[~self.kept.get_buffer(_key(name)).cpu().numpy()] = -1.0
        for name, goes in least(matter, fraction).items():
            kept = self.kept.get_buffer(_key(name))
            kept &= ~torch.from_numpy(goes).to(kept.device)

    @torch.no_grad()
    def drop(self, parts: Collection[str]) -> None:
        """Prune all matrices of some parts of the module, such as residual blocks.

        Args:
            parts: Names of submodules, or of matrices.

        Raises:
            InputError: One has no matrix that is stored.
        """
        for part in parts:
            inside = [name for name in self.names if f"{name}.".startswith(f"{part}.")]
            if not inside:
                raise InputError(f"there is no part {part!r} with matrices to drop")
            for name in inside:
                self.kept.get_buffer(_key(name)).fill_(False)

    @torch.no_grad()
    def prune_zeros(self) -> None:
        """Prune what is read back as zero, so that it stays zero.

        After a training with a price of bits weights stand at the edge of the zero bin and fall in
        and out; training goes on better, at a lower price, when they are settled.
        """
        for name in self.names:
            kept = self.kept.get_buffer(_key(name))
            kept &= self.storage(name)(self.wanted(name)) != 0

    @torch.no_grad()
    def encode(self) -> dict[str, bytes]:
        """Return the streams of the quantised matrices by name."""
        streams = {}
        for name in self.names:
            storage = self.storage(name)
            if isinstance(storage, QuantisedStorage):
                streams[name] = storage.encode(self.wanted(name))
        return streams

    @torch.no_grad()
    def state(self) -> dict[str, NDArray[Any]]:
        """Return all tensors of the module, its matrices as they are read back.

        A matrix of several names comes under each of them.
        """
        state = {name: values.cpu().numpy() for name, values in self.module.state_dict().items()}
        seen = {id(self.module.get_parameter(name)): name for name in self.names}
        read = {name: self.storage(name)(self.wanted(name)).cpu().numpy() for name in self.names}
        for name, values in self.module.named_parameters(remove_duplicate=False):
            if id(values) in seen:
                state[name] = read[seen[id(values)]]
        return {name: np.array(values) for name, values in state.items()}


def _key(name: str) -> str:
    return name.replace(".", "/")
