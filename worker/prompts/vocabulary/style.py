"""Words for how a picture is made, not for things in it."""

from worker.prompts.vocabulary.lists import word_set

# style: one word each
STYLE_WORDS = word_set(
    "ecu cinematic photorealistic photorealism realistic hyperrealistic hyper-realistic hyperrealism ultrarealistic "
    "ultra-realistic surrealistic surrealism impressionism cubism hd uhd fhd qhd 4k 8k 2k 16k 5k 6k 12k 1080p "
    "720p 2160p 480p 60fps 30fps 24fps 120fps 24p fps imax hdr 3d 2d cgi vfx timelapse time-lapse hyperlapse "
    "slow-motion slowmo slow-mo slomo closeup close-up bokeh cartoon cartoonish anime manga claymation "
    "stop-motion pixar ghibli disney dreamworks octane unreal blender watercolor watercolour sketch monochrome "
    "black-and-white grayscale sepia vhs polaroid kodak arri panavision 35mm 70mm 16mm 50mm 85mm 8mm film-grain "
    "grainy lo-fi low-poly lowpoly voxel pixel-art pixelart steadicam handheld gopro fpv pov tracking panning "
    "zoom zoom-in zoom-out zoomed pan tilt dolly macro telephoto fisheye wide-angle ultra-wide overhead top-down "
    "birds-eye bird's-eye eye-level low-angle high-angle aerial cel-shaded vaporwave synthwave artstation "
    "trending masterpiece award-winning highres high-res ultrahd ultra-hd high-quality high-definition "
    "high-resolution highly-detailed ultra-detailed hyperdetailed hyper-detailed detailed intricate sharp-focus "
    "raytracing ray-traced raytraced volumetric loop looping seamless stylized footage photoreal lifelike "
    "animated photographic photograph photography filmed fullhd epic hyper ultra render rendered rendering "
    "storyboard b-roll cinematography cinematographic cinematics noir film-noir technicolor ukiyo-e rotoscoped "
    "chiaroscuro lofi portrait wideshot drone"
)
# style: longest first wins
STYLE_PHRASES = (
    *("video game", "horror game", "computer game"),
    *(
        "self portrait",
        "key shot",
        "key art",
        "key frame",
        "key visual",
        "chroma key",
        "low key",
        "high key",
        "key light",
    ),
    "worm's eye view",
    "fish eye",
    "fish eye lens",
    "eye level",
    "over the shoulder",
    "over the shoulder shot",
    "dutch angle",
    "live action",
    "hand held",
    "hand drawn style",
    "very realistic",
    "super realistic",
    "realistic style",
    "best quality",
    "worst quality",
    "low quality",
    "high detail",
    "high details",
    "ultra high definition",
    "ultra high quality",
    "4k resolution",
    "8k resolution",
    "8 bit",
    "16 bit",
    "camera shake",
    "shaky camera",
    "camera movement",
    "camera angle",
    "camera view",
    "top down",
    "top view",
    "side view",
    "front view",
    "full body",
    "full body shot",
    "upper body",
    "half body",
    "medium shot",
    "full shot",
    "wide shot",
    "long shot",
    "studio lighting",
    "cinematic lighting",
    "volumetric light",
    "god rays",
    "matte painting",
    "digital painting",
    "acrylic painting",
    "comic book",
    "comic book style",
    "line drawing",
    "charcoal drawing",
    "3 d",
    "2 d",
    "4 d",
    "anamorphic lens",
    "35 mm",
    "slow motion",
    "super slow motion",
    "depth of field",
    "shallow depth of field",
    "shallow focus",
    "deep focus",
    "soft focus",
    "sharp focus",
    "rack focus",
    "in focus",
    "out of focus",
    "time lapse",
    "stop motion",
    "close up",
    "extreme close up",
    "extreme close-up",
    "wide angle",
    "low angle",
    "high angle",
    "bird's eye view",
    "birds eye view",
    "bird's-eye view",
    "point of view",
    "first person view",
    "first person",
    "third person",
    "black and white",
    "film grain",
    "golden hour",
    "oil painting",
    "oil on canvas",
    "water color",
    "watercolor painting",
    "pencil sketch",
    "pencil drawing",
    "pixel art",
    "concept art",
    "digital art",
    "line art",
    "vector art",
    "studio ghibli",
    "unreal engine",
    "unreal engine 5",
    "octane render",
    "cinema 4d",
    "ray tracing",
    "lens flare",
    "motion blur",
    "high quality",
    "best quality",
    "high definition",
    "high resolution",
    "full hd",
    "ultra hd",
    "4 k",
    "8 k",
    "highly detailed",
    "ultra detailed",
    "super detailed",
    "extremely detailed",
    "very detailed",
    "ultra realistic",
    "hyper realistic",
    "highly realistic",
    "frames per second",
    "vivid colors",
    "vibrant colors",
    "warm colors",
    "muted colors",
    "pastel colors",
    "warm tones",
    "cool tones",
    "color grading",
    "trending on artstation",
    "award winning",
    "one take",
    "long take",
    "long exposure",
    "double exposure",
    "tilt shift",
    "split screen",
    "found footage",
    "music video",
    "stock footage",
    "stock video",
    "home video",
    "national geographic",
    "blurred background",
    "blurry background",
    "zoom in",
    "zoom out",
    "zooms in",
    "zooms out",
    "zooming in",
    "zooming out",
    "pan left",
    "pan right",
    "pans left",
    "pans right",
    "dolly zoom",
    "film noir",
    "low poly",
    "cel shading",
    "art deco",
    "pop art",
    "van gogh",
    "wes anderson",
    "tim burton",
    "camera moves",
    "camera rotates",
    "camera follows",
    "camera pans",
    "camera zooms",
    "camera tracks",
    "moving camera",
    "static camera",
    "high contrast",
    "soft light",
    "dramatic light",
    "natural light",
    "rim light",
    "neon light style",
    "video game",
)
# a phrase that ends in one of these is style as a whole: "wide drone shot", "dramatic lighting"
STYLE_HEADS = word_set(
    "portraits shot shots footage view views viewpoint closeup close-up lighting angle angles perspective render "
    "rendering quality resolution photography photo photograph video videos clip clips animation animations style "
    "styles aesthetic aesthetics cinematography timelapse time-lapse hyperlapse zoom fps videography focus exposure "
    "lens film movie trailer documentary commercial advertisement ad picture image images illustration artwork art "
    "painting drawing sketch sequence cut intro montage vlog texture textures tones hues palette colour-grading "
    "colors colours graphics composition visuals recording footages realism cinema effects shoot screenshot "
    "screenshots photoshoot design designs genre theme filter filters shading linework brushwork brushstrokes "
    "illumination fanart saturation contrast wallpaper rendition cosplay imagery animatic animatics animations comics "
    "manga reenactment re-enactment representation depiction portrayal interpretation visualization visualisation "
    "scetch sketching pic pics gif vids vfx b-roll timelapse slideshow panorama close-ups tutorial review "
    "documentaries cartoons reel teaser promo ads commercials advertising advert adverts infomercial sitcom "
    "telenovela footages motion-graphics sculpt cg backlighting resolutions dof lut"
)
# of the style words, those that also describe things: "cartoon, a dog" against "a cartoon dog"
AMBIGUOUS_STYLE_WORDS = word_set(
    "black-and-white animated aerial tracking overhead macro loop pan tilt epic sketch blender photograph "
    "intricate render "
    "cartoon photography gopro disney drone zoom filmed realistic grainy dolly lifelike seamless storyboard"
)
