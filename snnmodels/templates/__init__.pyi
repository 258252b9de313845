"""The names that the package offers, read by `snnmodels.lazy`, type checkers and editors."""

from ._compose import as_model as as_model
from ._compose import compose_model as compose_model
from ._compose import load_model as load_model
from ._describe import describe as describe
from ._network_file import load_network as load_network
from .errors import TemplateError as TemplateError
from .groups import (
    CurrentInput as CurrentInput,
)
from .groups import (
    Drive as Drive,
)
from .groups import (
    Population as Population,
)
from .groups import (
    Projection as Projection,
)
from .groups import (
    SpikeInput as SpikeInput,
)
from .library import Entry as Entry
from .library import catalogue as catalogue
from .library import equations_path as equations_path
from .model import (
    Accuracy as Accuracy,
)
from .model import (
    Assignment as Assignment,
)
from .model import (
    Derived as Derived,
)
from .model import (
    Document as Document,
)
from .model import (
    Input as Input,
)
from .model import (
    Model as Model,
)
from .model import (
    Parameter as Parameter,
)
from .model import (
    Receptor as Receptor,
)
from .model import (
    Refractory as Refractory,
)
from .model import (
    State as State,
)
from .network import (
    Network as Network,
)
from .saving import save_model as save_model
from .saving import save_network as save_network
from .values import with_values as with_values
