"""CADMR: cross-attention and disentangled learning for multimodal recommendation (arXiv 2412.02295)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import RatingRows, RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.alignment import Projection, alignment, isotropic, kept_part
from recbole_cadmr.layers.attention import (
    BothAttentions,
    ContentAttention,
    CrossAttention,
    Gate,
    NeighbourRows,
    merge_candidates,
)
from recbole_cadmr.layers.autoencoder import Autoencoder
from recbole_cadmr.layers.encoder import Fusion, ModalityEncoder
from recbole_cadmr.layers.total_correlation import (
    DensityRatio,
    covariance_penalty,
    gaussian_total_correlation,
    total_correlation_bias,
)
from recbole_cadmr.models.base import HistoryRecommender
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR

Attention: TypeAlias = CrossAttention | ContentAttention | BothAttentions
PHASES = ("pretrain", "finetune")
_SAMPLE = 1024  # rows that the cosine diagnostics are measured on
_PAIRED = 256  # of these, those that are compared with one another
_BLOCK = 1024  # rows scored at once outside RecBole's own batches


class CADMR(HistoryRecommender):
    """An autoencoder of rating rows, behind an attention that enhances them by item content.

    Pre-training (phase ``pretrain``) teaches the autoencoder to reconstruct rows of the training matrix R. Fine-tuning
    (``finetune``) trains it on enhanced rows ``R' = R + gate * attention(R, Z)``, Z the fused latents of the
    modalities, whose Total Correlation is penalised. What the paper leaves open is a setting, declared with the
    others in ``properties/model/CADMR.yaml``; residual and gate are ours. With ``objective: softmax`` the model is
    :class:`SoftmaxCADMR`.

    All columns of R and rows of Z leave RecBole's padding ids out; ids of rows count them.
    """

    traits = replace(
        HistoryRecommender.traits,
        multimodal=True,
        reads_item_graphs=True,
        trainer="recbole_cadmr.training.cadmr_trainer:CADMRTrainer",
    )
    phase_index: Tensor

    @classmethod
    def form(cls, settings: Mapping[str, Any]) -> type[HistoryRecommender]:
        """The class that these settings of CADMR ask for."""
        return SoftmaxCADMR if settings["objective"] == "softmax" else cls

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        if config["attention"] != "none" and config["attention_size"] % config["n_heads"]:
            raise UserError(
                f"n_heads {config['n_heads']} must divide attention_size {config['attention_size']}; change one of them"
            )
        self.by_items = config["rows"] == "items"
        self.residual = config["residual"]
        self.attention_project: Projection = config["attention_project"] or "none"
        self.objective, self.reduction = config["objective"], config["loss_reduction"]
        self.positive_weight = config["positive_weight"]
        self.row_dropout_prob = config["row_dropout_prob"]
        self.frozen_autoencoder = config["autoencoder_finetune"] == "frozen"
        self.tc_weight = config["tc_weight"] if config["attention"] != "none" else 0.0
        self.tc_scope, self.tc_estimator, self.tc_phase = (config[f"tc_{x}"] for x in ("scope", "estimator", "phase"))
        self.tc_shrinkage, self.tc_variance_floor = config["tc_shrinkage"], config["tc_variance_floor"]

        R = dataset.inter_matrix(form="csr")
        matrix = R.T.tocsr()[:, 1:] if self.by_items else R[:, 1:]
        self.rating_rows = RatingRows(matrix, self.device)
        width = matrix.shape[1]

        modalities = dataset.modalities()
        self.modality_names = list(modalities)
        self.encoders = nn.ModuleList(
            ModalityEncoder(
                modality.features[1:],
                modality.present[1:],
                config["encoder_hidden_size"],
                config["latent_size"],
                config["encoder_activation"],
                config["latent_activation"],
                config["dropout_prob"],
                config["missing_modality"],
            )
            for modality in modalities.values()
        )
        self.register_buffer("present", torch.stack([m.present[1:] for m in modalities.values()]), persistent=False)
        self.fusion = Fusion(config["fusion"], len(modalities), config["latent_size"], config["fused_size"])
        self.autoencoder = Autoencoder(width, config["autoencoder_hidden_sizes"], config["autoencoder_activation"])
        self.attention = self._build_attention(config, dataset, width)
        self.gate = Gate(config["gate"], width, config["gate_init"]) if self.attention else None
        self.density_ratio: DensityRatio | None = None
        if self.tc_estimator == "discriminator" and self.tc_weight:
            if self.present.all(0).sum() < 2:
                raise UserError(
                    "tc_estimator discriminator compares items that have every modality, and there are fewer than two; "
                    "choose gaussian or covariance"
                )
            self.density_ratio = DensityRatio([config["latent_size"]] * len(modalities))
        self.register_buffer("phase_index", torch.tensor(0))
        self.apply(_initialise)

    def _build_attention(self, config: Config, dataset: MultimodalDataset, width: int) -> Attention | None:
        if config["attention"] == "none":
            return None
        sizes = config["fused_size"], config["attention_size"], config["n_heads"]
        cross = None
        if config["attention"] != "item":
            cross = CrossAttention(width, *sizes, config["attention_dropout_prob"])
            if config["attention"] == "cross":
                return cross
        k = config["attention_neighbours"]
        candidates = merge_candidates([dataset.nearest_items(name, k).idx[1:, :k] for name in self.modality_names])
        if self.by_items:
            item: ContentAttention = NeighbourRows(candidates, *sizes, self.rating_rows)
        else:
            item = ContentAttention(candidates, *sizes)
        return BothAttentions(cross, item) if cross else item

    # Phases

    @property
    def phase(self) -> str:
        """``pretrain`` or ``finetune``."""
        return PHASES[int(self.phase_index)]

    def set_phase(self, phase: str) -> None:
        """Enter a phase; it is part of the model's state."""
        self._cache.clear()
        self.phase_index.fill_(PHASES.index(phase))
        self.autoencoder.requires_grad_(phase == "pretrain" or not self.frozen_autoencoder)

    def phase_parameters(self) -> list[nn.Parameter]:
        """The parameters that the phase trains."""
        modules: list[nn.Module | None] = []
        if self.phase == "pretrain" or not self.frozen_autoencoder:
            modules.append(self.autoencoder)
        if self.phase == "finetune" and self.attention is not None:
            modules += [self.encoders, self.fusion, self.attention, self.gate]
        elif self._tc_acts:
            modules.append(self.encoders)
        if self._tc_acts:
            modules.append(self.density_ratio)
        return [parameter for module in modules if module is not None for parameter in module.parameters()]

    @property
    def _tc_acts(self) -> bool:
        return self.tc_weight > 0 and (self.phase == "finetune" or self.tc_phase == "both")

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of what :meth:`calculate_loss` returns in this phase."""
        if not self._tc_acts:
            return ("reconstruction",)
        return ("reconstruction", "tc", "discriminator") if self.density_ratio else ("reconstruction", "tc")

    # Training

    def calculate_loss(self, interaction: Interaction) -> tuple[Tensor, ...]:
        """Losses of a batch of row ids, scalars that add up to the objective; see :attr:`loss_names`."""
        batch = self.rating_rows.batch(interaction[self.ITEM_ID if self.by_items else self.USER_ID])
        # Corrupted once: query, residual and autoencoder see the same row, else the clean one would slip past.
        corrupted = replace(batch, value=F.dropout(batch.value, self.row_dropout_prob, self.training))
        latents = self._latents() if self._tc_acts or self._enhances else []
        output = self.autoencoder(self._enhanced(corrupted, self._content(latents)))
        losses = [self._reconstruction_loss(output, batch)]
        if self._tc_acts:
            losses += self._total_correlation_loss(latents)
        return tuple(losses)

    @property
    def _enhances(self) -> bool:
        return self.phase == "finetune" and self.attention is not None

    def _reconstruction_loss(self, output: Tensor, batch: RowBatch) -> Tensor:
        """Loss of ``output`` [B, width] against the rows of ``batch``."""
        positive = output[batch.row, batch.column]
        if self.objective == "multinomial":
            log_likelihood = positive - output.logsumexp(1)[batch.row]
            return -log_likelihood.sum() / (len(output) if self.reduction == "sum" else max(len(positive), 1))
        # sum (y - r)^2 = sum y^2 + sum over positives of w (y - 1)^2 - y^2, without a dense target
        squared = output.square().sum() + (self.positive_weight * (positive - 1).square() - positive.square()).sum()
        return squared / (len(output) if self.reduction == "sum" else output.numel())

    def _total_correlation_loss(self, latents: list[Tensor]) -> list[Tensor]:
        if self.density_ratio is not None:
            complete = self.present.all(0)
            tc, loss = self.density_ratio([h[complete] for h in latents], self.tc_scope)
            return [self.tc_weight * tc, loss]
        estimator = gaussian_total_correlation if self.tc_estimator == "gaussian" else covariance_penalty
        tc = torch.stack([part for _, part in self._total_correlations(latents, self.tc_scope, estimator)]).sum()
        return [self.tc_weight * tc.float()]

    def _total_correlations(
        self, latents: list[Tensor], scope: str, estimator: Callable[..., Tensor]
    ) -> list[tuple[str, Tensor]]:
        """Parts of the Total Correlation: each modality's over the items that have it, then the one across them."""
        options = {"shrinkage": self.tc_shrinkage, "variance_floor": self.tc_variance_floor}
        parts = []
        if scope in ("within", "both"):
            named = zip(self.modality_names, latents, self.present)
            parts = [(name, estimator([h[present]], "both", **options)) for name, h, present in named]
        if scope in ("across", "both") and len(latents) > 1:
            complete = self.present.all(0)
            parts.append(("across", estimator([h[complete] for h in latents], "across", **options)))
        return parts or [("across", latents[0].sum() * 0.0)]

    # From content and ratings to scores

    def _latents(self) -> list[Tensor]:
        """Latents h_m of all items [I, latent_size] each."""
        return [encoder() for encoder in self.encoders]

    def _content(self, latents: list[Tensor]) -> Any:
        """What the attention needs of the items; None in a phase without attention."""
        return self.attention.content(self.fusion(latents)) if self.attention and self._enhances else None

    def _enhanced(self, batch: RowBatch, content: Any) -> Tensor:
        """Rows R' [B, width]; R itself where there is no content to enhance it by."""
        if content is None or self.attention is None or self.gate is None:
            return batch.dense
        addition = self.gate() * self._added(self.attention, batch, content)
        return batch.dense + addition if self.residual else addition

    def _added(self, attention: Attention, batch: RowBatch, content: Any) -> Tensor:
        """What the attention adds to the rows of a batch [B, width], before the gate."""
        return kept_part(attention(batch, content), batch.dense, self.attention_project)

    def _fold(self) -> tuple[Tensor, Any]:
        """The autoencoder's first layer W [width, h], and the attention with gate and W behind it.

        Of an attention of which a part is kept these are its content and the gated W.
        """
        W = self.autoencoder.first.weight.T.contiguous()
        if self.attention is None or self.gate is None or not self._enhances:
            return W, None
        gate = torch.as_tensor(self.gate(), device=W.device)
        content, gated = self._content(self._latents()), gate.expand(len(W))[:, None] * W
        return W, (content, gated) if self.attention_project != "none" else self.attention.folded(content, gated)

    def _codes(self, batch: RowBatch) -> Tensor:
        """What the output layer reads for the enhanced rows of a batch.

        ``R' W = R W + gate * attention(R) W``, all of it from the entries of R; what the attention adds is formed only
        where a part of it is kept.
        """
        W, folded = self._cached("fold", self._fold)
        projected = self.autoencoder.first.bias.expand(batch.n_rows, -1)
        if self.attention is not None and folded is not None:
            if self.attention_project != "none":
                content, gated = folded
                projected = projected + self._added(self.attention, batch, content) @ gated
            else:
                projected = projected + self.attention.projected(batch, folded)
        if folded is None or self.residual:
            projected = projected + batch.matmul(W)
        return self.autoencoder.code(projected)

    def _all_item_codes(self) -> Tensor:
        items = torch.arange(1, self.n_items, device=self.device)
        return torch.cat([self._codes(self.rating_rows.batch(block)) for block in items.split(_BLOCK)])

    def _scores(self, users: Tensor) -> Tensor:
        if not self.by_items:
            return super()._scores(users)
        codes = self._cached("codes", self._all_item_codes)
        at = users.clamp(min=1) - 1  # the padding user has no output unit; nobody reads its scores
        return F.pad(F.linear(codes, self.autoencoder.output.weight[at], self.autoencoder.output.bias[at]).T, (1, 0))

    def _scores_of(self, batch: RowBatch) -> Tensor:
        if self.by_items:
            raise UserError("a model trained with rows=items knows only its own users, not a history")
        return F.pad(self.autoencoder.output(self._codes(batch)), (1, 0))

    # What to look at

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Total Correlation (nats, bias-corrected) by modality and across, gate, and orthogonality of the attention.

        ``cos/row`` is the mean |cos| between rating rows and the attention's output before the gate, over a fixed
        sample of rows; ``cos/head`` the same between query and output of each head. Random directions already have
        about ``sqrt(2 / (pi n))`` in n dimensions (``.._chance``); see arXiv 2510.09435. Rating rows are sparse and
        nowhere below 0, so that their directions are not random: ``.._permuted`` is the mean |cos| with what other
        rows get. ``.._mean`` is |mean cos|, ``.._norms`` the mean ratio of the norms of output and query. With
        ``attention_project``, those of rows are of the part that is kept, those of heads of the whole.
        """
        training = self.training
        self.eval()
        latents = self._latents()
        values = {}
        for name, tc in self._total_correlations(latents, "both", gaussian_total_correlation):
            values[f"tc/{name}"] = float(tc) - self._tc_bias(name, latents)
        if self.attention is not None and self.gate is not None:
            values["gate"] = float(torch.as_tensor(self.gate()).mean())
            values |= self._cosines(self.attention, self.attention.content(self.fusion(latents)))
        self.train(training)
        return values

    def _tc_bias(self, name: str, latents: list[Tensor]) -> float:
        if name != "across":
            index = self.modality_names.index(name)
            return total_correlation_bias(int(self.present[index].sum()), latents[index].shape[1])
        n, widths = int(self.present.all(0).sum()), [h.shape[1] for h in latents]
        return total_correlation_bias(n, sum(widths)) - sum(total_correlation_bias(n, d) for d in widths)

    def _cosines(self, attention: Attention, content: Any) -> dict[str, float]:
        n = self.rating_rows.n_rows
        batch = self.rating_rows.batch(torch.linspace(1, n - 1, min(_SAMPLE, n - 1), device=self.device).long())
        rows = batch.dense
        found = self._added(attention, batch, content)
        cosines = {
            "cos/row": _mean_abs_cos(rows, found),
            "cos/row_chance": isotropic(rows.shape[1]),
            "cos/row_permuted": _permuted(rows, found),
            "cos/row_mean": _abs_mean_cos(rows, found),
            "cos/row_norms": _norm_ratio(rows, found),
        }
        if isinstance(attention, BothAttentions):
            attention, content = attention.cross, content[0]
        if isinstance(attention, CrossAttention):
            query, answer = attention.heads(attention.W_Q(rows), content)
            cosines["cos/head"] = _mean_abs_cos(query, answer)
            cosines["cos/head_chance"] = isotropic(query.shape[2])
            cosines["cos/head_permuted"] = sum(map(_permuted, query, answer)) / len(query)
            cosines["cos/head_mean"] = _abs_mean_cos(query, answer)
            cosines["cos/head_norms"] = _norm_ratio(query, answer)
        return cosines


def _mean_abs_cos(a: Tensor, b: Tensor) -> float:
    return float(F.cosine_similarity(a, b, dim=-1).abs().mean())


def _abs_mean_cos(a: Tensor, b: Tensor) -> float:
    """|mean cos| of rows [..., n, d], a mean over all before them: opposite signs make it small whatever the angles."""
    return float(F.cosine_similarity(a, b, dim=-1).mean(-1).abs().mean())


def _norm_ratio(a: Tensor, b: Tensor) -> float:
    """Mean of |b| / |a| over the rows of ``a`` [..., d] that are not 0."""
    sizes = a.norm(dim=-1)
    return float((b.norm(dim=-1)[sizes > 0] / sizes[sizes > 0]).mean())


def _permuted(a: Tensor, b: Tensor) -> float:
    """Mean |cos| of rows of ``a`` [n, d] and other rows of ``b``, of a few rows: all pairs are wide products."""
    return alignment(a[:_PAIRED], b[:_PAIRED])["permuted"]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
