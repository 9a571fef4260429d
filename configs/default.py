"""Every key that an experiment may set, with its unit. Other configs start from this one and change what they vary.

Command: ``python main.py pretrain --config=configs/default.py --workdir=runs/default``.
Hardware, wall time, result: see the configs that describe experiments; this one only names the keys.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The default configuration: contrastive loss on the embedded digits."""
    config = ConfigDict()
    config.seed = 0  # one integer; parameters, data order and augmentation follow from it

    config.data = data = ConfigDict()
    data.name = "digits"  # digits | any TFDS image-classification set | folder:/path | npz:/path
    data.data_dir = ""  # first place to look in; then $JAXCL_DATA_DIR, then the directory of TFDS
    data.train_split = "train"
    data.test_split = "test"
    # auto | host | device: where the training images lie, as uint8; auto: whole on every device up to resident_limit
    data.resident = "auto"
    data.resident_limit = 2**30  # bytes of all pixels, up to which a set is kept in memory
    data.resize = 0  # pixels: shorter side to which the host resizes images (0: as they are)
    data.image_size = 16  # pixels: side of the crops that the encoder sees
    data.upscale = True  # whether images smaller than image_size may be enlarged
    data.mean = (0.0,)  # per channel, of pixels in [0, 1]; one value serves all channels
    data.std = (1.0,)
    data.views = "crops"  # crops | lab: crops as CIE L*a*b* (L 0..100, a and b about -108..98; see mean and std)
    data.center = (
        "resize"  # evaluation: resize (the centre square) | crop (the central image_size pixels)
    )

    config.augment = augment = ConfigDict()
    augment.crop_scale = (
        0.5,
        1.0,
    )  # share of the image area; (1.0, 1.0) with ratio (1.0, 1.0): no crop
    augment.crop_ratio = (0.75, 4 / 3)  # width / height
    augment.flip = 0.0  # probability of a horizontal flip
    augment.jitter = 0.0  # probability of colour jitter
    augment.brightness = 0.4  # strengths of the jitter, as torchvision's ColorJitter takes them
    augment.contrast = 0.4
    augment.saturation = 0.0  # colour images only
    augment.hue = 0.0  # colour images only
    augment.grayscale = 0.0  # probability; colour images only
    augment.blur = 0.0  # probability of a Gaussian blur
    augment.blur_sigma = (0.1, 2.0)  # pixels

    config.model = model = ConfigDict()
    model.name = "small_conv"  # small_conv | resnet18 | resnet50
    model.width = 1.0  # multiplies the channels of every layer
    model.channels = (
        12,
        24,
        48,
        24,
    )  # small_conv: output channels of its 4x4 stride-2 convolutions
    model.batch_norm = (
        False  # small_conv: BatchNorm after each convolution (ResNets always have it)
    )
    # In training BatchNorm has the statistics of the whole global batch (1), or of each of so many groups of
    # consecutive views: the number of devices or a multiple. docs/operations.md says what leaks through BatchNorm.
    model.batch_norm_groups = 1
    model.pool = "flatten"  # small_conv: flatten | mean
    model.stem = "cifar"  # ResNets: cifar (3x3, stride 1, no pool) | imagenet (7x7, stride 2, pool)
    model.streams = 1  # 1 | 2: an encoder for the first channel and one for the others (L and ab)
    model.head = "linear"  # linear | mlp | none (the projection is the embedding)
    model.hidden = 512  # units of the MLP head's hidden layer
    model.dimension = (
        128  # of the projection, on the unit sphere; head none: of one stream's embedding
    )
    model.dtype = (
        "float32"  # of the encoder's computation; parameters, statistics and loss are float32
    )

    config.loss = loss = ConfigDict()
    loss.name = "contrastive"  # a key of jaxcl.losses.LOSSES
    loss.temperature = 0.1  # divides the cosine similarities
    # Constants of single losses; a loss takes those that its signature names.
    loss.num_negatives = 64  # hard, hard_simple: K nearest negatives of each anchor
    loss.sigma = 0.5  # dclw: width of the weights, in cosine
    loss.detach_weights = False  # dclw: no gradient through the weights
    loss.margin = 1.0  # spring, triplet: a distance of unit vectors
    loss.form = "coded"  # spring, triplet: coded | printed (see jaxcl.losses.margin)
    loss.num_data = None  # nce: instances that noise is drawn from; None: as many as candidates
    loss.normalizer = "batch"  # nce: Z of each batch | first: of the first one, fixed from there
    loss.detach_normalizer = False  # nce: no gradient through Z
    loss.epsilon = 0.0  # nce: added to the denominators; contrastive, hard: to the probability

    config.candidates = candidates = ConfigDict()
    candidates.kind = "batch"  # batch | memory_bank | streams | stream_banks (model.streams = 2)
    candidates.views = (
        "both"  # batch: both (NT-Xent) | cross (anchors of one view, candidates of the other)
    )
    candidates.momentum = 0.5  # banks: slot <- normalise(m * slot + (1 - m) * feature)
    candidates.initial = "random"  # banks: random | encoded (one pass of the initial encoder)
    # banks: whether each device keeps its own rows of them only; they are gathered in each step
    candidates.split_bank = False
    candidates.draws = (
        127  # stream_banks: slots drawn for each anchor, uniformly and with replacement
    )

    config.optimizer = optimizer = ConfigDict()
    optimizer.name = "adam"  # sgd | adam | adamw | lars
    optimizer.learning_rate = 1e-3  # absolute, not per 256 images
    optimizer.momentum = 0.9  # sgd, lars
    optimizer.betas = (0.9, 0.999)  # adam, adamw
    optimizer.weight_decay = (
        0.0  # coupled (added to the gradient) for sgd and adam, decoupled for adamw
    )
    optimizer.schedule = "cosine"  # constant | step | cosine
    optimizer.boundaries = ()  # step: epochs after which the rate is multiplied by factor
    optimizer.factor = 0.1
    optimizer.warmup_epochs = 0.0  # linear, from zero

    config.train = train = ConfigDict()
    train.batch_size = 256  # images in the global batch, over all devices and hosts
    train.epochs = 60.0  # over images, not views
    train.steps = 0  # if positive, replaces epochs
    train.log_every = 20  # steps
    train.log_multiplier = (
        False  # whether q_B, by which a batch damps gradients, is logged (Yeh et al., 2022)
    )
    train.monitor_every = 0.0  # epochs between kNN accuracies of the encoder in training; 0: never
    train.monitor_images = 5000  # at most, of each split, evenly spaced
    # Parts of the batch that the encoder takes one after another, to save memory; the loss is that of the whole batch.
    train.microbatches = 1
    train.remat = False  # ResNets: compute each block again for its gradient instead of keeping it
    train.chunk = 256  # anchors of a device at a time, where similarities are streamed
    train.tensorboard = False  # whether metrics also go to tensorboard/ (extra [tensorboard])
    train.checkpoint_every = 200  # steps
    train.keep = 2  # checkpoints

    config.evaluate = evaluate = ConfigDict()
    evaluate.batch_size = 512  # images, over all devices
    evaluate.train_split = ""  # labelled images of the probe; "": data.train_split
    evaluate.features = "backbone"  # what the probe reads: backbone | projection
    evaluate.standardize = True  # features to zero mean and unit variance of the training split
    evaluate.readout = "linear"  # linear | mlp (one hidden layer; with sgd or adam)
    evaluate.hidden = 512  # mlp: units of the hidden layer
    evaluate.solver = "lbfgs"  # lbfgs (convex, to convergence) | sgd (Wang & Liu's recipe) | adam
    evaluate.penalty = 1e-4  # lbfgs: L2 penalty on the weights, per-example mean objective
    evaluate.epochs = 100  # sgd, adam: over the training features
    evaluate.readout_batch_size = 256  # sgd, adam: features in a step
    evaluate.weight_decay = 0.0  # sgd, adam: added to the gradient
    evaluate.sgd_learning_rate = (
        30.0  # absolute; x0.2 after 40, 60 and 80 % of the epochs; momentum 0.9
    )
    evaluate.adam_learning_rate = 1e-3  # absolute, constant
    # sgd, adam: augment the training images anew in each epoch (the encoder runs each time) | False: one central view
    evaluate.augment = False
    evaluate.augmentation = ConfigDict(augment)  # keys as above
    evaluate.augmentation.crop_scale = (1.0, 1.0)
    evaluate.augmentation.crop_ratio = (1.0, 1.0)
    evaluate.augmentation.jitter = 0.0
    evaluate.neighbors = 200  # kNN; at most a tenth of the training images is used
    evaluate.knn_temperature = 0.07
    evaluate.untrained = True  # also probe the encoder before training
    evaluate.pixels = True  # also probe raw pixels (all of them in memory as float32)
    evaluate.count = 2000  # test images that `analyze` measures pairs of
    evaluate.tsne = False  # whether `analyze` also maps 1000 of them by t-SNE (seconds)

    return config.lock()
