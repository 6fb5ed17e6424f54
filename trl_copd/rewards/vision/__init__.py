"""Answers to questions about pictures: numbers with a tolerance, counts, boxes, and the text in a picture."""

from .boxes import IoUReward, intersection_over_union, iou_reward, verify_iou
from .numbers import CountReward, NumberReward, count_reward, number_reward, verify_count, verify_number
from .texts import OCRReward, edit_distance, ocr_reward, verify_ocr


__all__ = [
    "CountReward",
    "IoUReward",
    "NumberReward",
    "OCRReward",
    "count_reward",
    "edit_distance",
    "intersection_over_union",
    "iou_reward",
    "number_reward",
    "ocr_reward",
    "verify_count",
    "verify_iou",
    "verify_number",
    "verify_ocr",
]
