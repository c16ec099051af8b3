"""Who serves a deployment: whether two are of one provider, and of one account there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import litellm

from mirrorkit.capture.portability import Relation
from mirrorkit.capture.scrub import is_secret_name

_HOSTS = ("api_base", "base_url")


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """Where a deployment's calls go, and on whose account."""

    provider: str
    host: str
    credentials: str

    @classmethod
    def of(cls, deployment: Mapping[str, Any]) -> "ProviderAccount":
        """The account of a deployment, by its `litellm_params`."""
        params = deployment["litellm_params"]
        model, provider = str(params["model"]), params.get("custom_llm_provider")
        base = next((str(params[name]) for name in _HOSTS if params.get(name)), "")
        secrets = sorted((name, str(value)) for name, value in params.items() if _identifies(name))
        return cls(str(provider or _provider(model)), urlsplit(base).netloc, repr(secrets))

    def relation_to(self, others: Iterable[Mapping[str, Any]]) -> Relation:
        """What these deployments, all of them, are to this one's.

        >>> openai = {"litellm_params": {"model": "openai/gpt-4o", "api_key": "sk-1"}}
        >>> other = {"litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "sk-2"}}
        >>> [ProviderAccount.of(openai).relation_to(each) for each in ([openai], [openai, other])]
        ['same account', 'same provider']
        """
        accounts = {ProviderAccount.of(other) for other in others}
        if accounts == {self}:
            return "same account"
        if {(each.provider, each.host) for each in accounts} == {(self.provider, self.host)}:
            return "same provider"
        return "other provider"


def _identifies(name: str) -> bool:
    return name == "organization" or name.startswith(("aws_", "azure_", "vertex_")) or is_secret_name(name)


def _provider(model: str) -> str:
    try:
        return str(litellm.get_llm_provider(model)[1])
    except litellm.exceptions.BadRequestError:  # a name that LiteLLM does not know
        return model.partition("/")[0]
