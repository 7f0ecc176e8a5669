"""Makes tiny instances of the heavy models' own classes: random weights, saved as the real ones are.

Run by the Python that has torch, transformers and diffusers: ``python tiny.py FOLDER``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BartConfig,
    BartTokenizerFast,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    Florence2VisionConfig,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

LETTERS = pre_tokenizers.ByteLevel.alphabet()


def florence(folder: Path) -> None:
    """Florence-2, its picture 64 pixels a side and so 5 tokens."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {token: index for index, token in enumerate(special + sorted(LETTERS))}
    base = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))  # noqa: S106
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    base.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    tokenizer = BartTokenizerFast(
        tokenizer_object=base,
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.add_tokens([f"<loc_{place}>" for place in range(1000)])
    image = CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    image.image_seq_length = 5
    processor = Florence2Processor(image_processor=image, tokenizer=tokenizer)
    vision = Florence2VisionConfig(
        depths=[1, 1, 1, 1],
        embed_dim=[8, 8, 8, 8],
        num_heads=[2, 2, 2, 2],
        num_groups=[2, 2, 2, 2],
        window_size=2,
        projection_dim=16,
        max_temporal_embeddings=2,
        max_position_embeddings=4,
    )
    text = BartConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_position_embeddings=600,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        init_std=0.5,
    )
    config = Florence2Config(vision_config=vision, text_config=text, image_token_id=tokenizer.image_token_id)
    network = Florence2ForConditionalGeneration(config)
    network.generation_config.update(bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """One token a byte."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(LETTERS)
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def clip_text(kind: type[CLIPTextModel]) -> CLIPTextModel:
    return kind(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=16,
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
        )
    ).eval()


def vae(channels: int, **more: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        layers_per_block=1,
        **more,
    ).eval()


UNET = {
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,  # six sizes of 8, and a pooled text of 16
    "cross_attention_dim": 32,
    "norm_num_groups": 4,
}


def sdxl(folder: Path) -> None:
    """SDXL-Turbo, with its scheduler."""
    scheduler = EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing"
    )
    tokenizers = [clip_tokenizer(folder / name) for name in ("tokenizer", "tokenizer_2")]
    unet = UNet2DConditionModel(sample_size=8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **UNET).eval()
    with torch.no_grad():  # untrained, it would hardly hear the words
        for name, weight in unet.named_parameters():
            if "attn2.to_out" in name or "attn2.to_v" in name:
                weight *= 200
    pipeline = StableDiffusionXLPipeline(
        vae(4), clip_text(CLIPTextModel), clip_text(CLIPTextModelWithProjection), *tokenizers, unet, scheduler
    )
    pipeline.save_pretrained(folder, variant="fp16")


def control(folder: Path) -> None:
    """A ControlNet for it, whose say is not nothing as it is before training."""
    network = ControlNetModel(conditioning_embedding_out_channels=(8, 8, 8, 8), **UNET)
    for name, weight in network.named_parameters():
        if name.startswith(("controlnet_", "mid_block")):
            torch.nn.init.normal_(weight, std=0.5)
    network.save_pretrained(folder)


def flux(folder: Path) -> None:
    """FLUX.1-schnell."""
    characters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((chr(code), -1.0) for code in range(32, 127))]
    base = Tokenizer(models.Unigram(characters, unk_id=2))
    base.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = T5TokenizerFast(tokenizer_object=base, extra_ids=0, model_max_length=64)
    encoder = T5EncoderModel(T5Config(vocab_size=98, d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2)).eval()
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=False,
    ).eval()
    pipeline = FluxPipeline(
        FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae(4, shift_factor=0.1, scaling_factor=0.3),
        clip_text(CLIPTextModel),
        clip_tokenizer(folder / "tokenizer"),
        encoder,
        tokenizer,
        transformer,
    )
    pipeline.save_pretrained(folder)


BIREFNET = '''
import torch
from transformers import PreTrainedModel, PretrainedConfig


class BiRefNetConfig(PretrainedConfig):
    model_type = "SegformerForSemanticSegmentation"  # as the published file has it


class BiRefNet(PreTrainedModel):
    """The published class's call: a batch of squares in, a list of logits, the finest last, out."""

    config_class = BiRefNetConfig

    def __init__(self, config=None):
        super().__init__(config or BiRefNetConfig())
        self.bb = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.decoder = torch.nn.Conv2d(4, 1, 3, padding=1)
        self.post_init()

    def forward(self, x):
        features = torch.nn.functional.relu(self.bb(torch.nn.functional.avg_pool2d(x, 2)))
        coarse = self.decoder(features)
        return [coarse, torch.nn.functional.interpolate(coarse, x.shape[2:])]
'''


def birefnet(folder: Path) -> None:
    """A stand-in that is loaded as the real one is, by classes from the folder of the weights; bright is subject."""
    folder.mkdir(parents=True)
    (folder / "birefnet.py").write_text(BIREFNET)
    space: dict[str, Any] = {"__name__": "birefnet"}
    exec(BIREFNET, space)  # noqa: S102 - the text above
    network = space["BiRefNet"]()
    for name, weight in network.named_parameters():
        torch.nn.init.constant_(weight, -5.0 if name == "decoder.bias" else 0.0)
    with torch.no_grad():
        network.bb.weight[0, :, 1, 1] = 1 / 3
        network.decoder.weight[0, 0, 1, 1] = 10.0
    network.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "birefnet.BiRefNetConfig",
        "AutoModelForImageSegmentation": "birefnet.BiRefNet",
    }
    (folder / "config.json").write_text(json.dumps(config))


def trellis(folder: Path) -> None:
    """What the stand-in reads; 12 steps of 7.5 in the first stage, as published."""
    stage = {"params": {"steps": 12, "cfg_strength": 7.5}}
    _write(folder / "pipeline.json", {"args": {"sparse_structure_sampler": stage, "slat_sampler": stage}})


def slow(folder: Path) -> None:
    """The same with enough steps to be called off in the middle: 40 s of them."""
    stage = {"params": {"steps": 2000, "cfg_strength": 7.5, "seconds": 0.02}}
    _write(folder / "pipeline.json", {"args": {"sparse_structure_sampler": stage, "slat_sampler": stage}})


def broken(folder: Path) -> None:
    """The same with a number that is none."""
    stage = {"params": {"steps": 12, "cfg_strength": "much"}}
    _write(folder / "pipeline.json", {"args": {"sparse_structure_sampler": stage, "slat_sampler": stage}})


def trellis2(folder: Path) -> None:
    """What the stand-in reads, and the folder that lies there by the name of a hub id."""
    stages = {
        f"{stage}_sampler": {"params": {"steps": 12, "guidance_strength": 7.5}}
        for stage in ("sparse_structure", "shape_slat", "tex_slat")
    }
    more = {
        "image_cond_model": {"name": "DinoV3FeatureExtractor", "args": {"model_name": "facebook/dinov3"}},
        "rembg_model": {"name": "BiRefNet", "args": {"model_name": "briaai/RMBG-2.0"}},
    }
    _write(folder / "pipeline.json", {"args": {**stages, **more}})
    _write(folder / "facebook" / "dinov3" / "config.json", {})


def sf3d(folder: Path) -> None:
    """What the stand-in reads."""
    _write(folder / "config.yaml", {})
    save_file({"depth": torch.tensor([0.6])}, folder / "model.safetensors")


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def main(home: Path) -> None:
    """One folder each."""
    torch.manual_seed(0)
    for make in (florence, sdxl, control, flux, birefnet, trellis, slow, broken, trellis2, sf3d):
        make(home / make.__name__)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
