"""The routes below /v1/models."""

from typing import Any

from fastapi import APIRouter

from infra.model_server import documents
from infra.model_server.registry import model_object
from infra.model_server.services import Services


def models_router(services: Services) -> APIRouter:
    """Return the routes over `services.registry`."""
    router = APIRouter(tags=["models"], responses=documents.ERRORS)
    registry = services.registry

    @router.get("/models", **documents.MODELS)
    def page() -> dict[str, Any]:
        """List all models."""
        return {"object": "list", "data": [model_object(entry) for entry in registry.entries()]}

    @router.get("/models/{model_id}", **documents.MODEL)
    def retrieve(model_id: str) -> dict[str, Any]:
        """Describe a model."""
        return model_object(registry.get(model_id))

    @router.delete("/models/{model_id}", **documents.MODEL_DELETED)
    def delete(model_id: str) -> dict[str, Any]:
        """Delete a fine-tuned model."""
        entry = registry.get(model_id)
        deleted = registry.delete(model_id)
        services.pool.forget(entry)
        return deleted

    return router
