"""The two networks for MNIST that the compression literature measures itself on."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class LeNet300(nn.Module):
    """LeNet-300-100: three fully connected layers, 784-300-100-10.

    Example:
        >>> sum(tensor.numel() for tensor in LeNet300().state_dict().values())
        266610

    Source:
        LeCun et al., Proc. IEEE 86, 2278 (1998); named so by Han et al., NIPS 2015,
        arXiv 1506.02626, section 4.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (images, 1, 28, 28) to logits (images, 10)."""
        x = functional.relu(self.fc1(x.flatten(1)))
        x = functional.relu(self.fc2(x))
        return self.fc3(x)


class LeNet5(nn.Module):
    """LeNet-5 in the form that Caffe gave it: 20 and 50 filters of 5x5, then 500 and 10 units.

    Example:
        >>> sum(tensor.numel() for tensor in LeNet5().state_dict().values())
        431080

    Source:
        Han et al., NIPS 2015, arXiv 1506.02626, section 4.1 (431 k weights); the network is that of
        the Caffe examples, after LeCun et al., Proc. IEEE 86, 2278 (1998).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (images, 1, 28, 28) to logits (images, 10)."""
        x = functional.max_pool2d(self.conv1(x), 2)
        x = functional.max_pool2d(self.conv2(x), 2)
        x = functional.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)
