"""Made-up handwritten characters: their strokes, and how they are drawn."""
