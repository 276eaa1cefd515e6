// Package gbdt grows histogram gradient-boosted trees: weighted classification (logistic loss) and regression (squared
// error), the classifier behind the two-sample test and the kinematic weights.
//
// Two ways of growing, one code:
//
//	Depth set (default)  level by level, as xgboost's tree_method=hist (arXiv:1603.02754): depth 6, rate 0.1, L2 = 1,
//	                     subsample 0.8, smallest hessian of a child 20, up to 600 trees, early stop
//	Leaves set           best leaf first, as LightGBM (NeurIPS 2017) and scikit-learn's HistGradientBoosting
//
// Columns are cut into at most 255 bins, by weighted quantiles where a column has more distinct values than that and
// exactly otherwise; a value that holds more than its share keeps a bin of its own. A threshold is the smallest value of
// the right side's first bin: x < threshold goes left. NaN is "missing" and goes to the side that a split learnt.
//
// Columns are [feature][row]. The result is the same for any number of threads: sums run over fixed chunks of rows in
// order, and a row's place in a sub-sample or the validation part is a function of (seed, tree, row).
//
// It does not do: categories, ranking, several classes, monotonic constraints.
package gbdt
